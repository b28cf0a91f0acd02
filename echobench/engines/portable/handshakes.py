"""Counts TLS handshakes that fail, by reason, and logs the first of each reason in a minute."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import Logger

from ...counters import Counters, Reason
from ...seldom import Seldom

log = Logger()

_WORDS = {
    Reason.TLS_NOT_SPOKEN: (
        "http request", "https proxy request", "wrong version number", "unknown protocol", "wrong ssl version",
        "packet length too long", "bad record type", "unexpected message", "bad packet", "invalid record",
    ),
    Reason.TLS_REFUSED_BY_PEER: (" alert ",),
    Reason.TLS_NOTHING_IN_COMMON: (
        "unsupported protocol", "version too low", "no shared", "no suitable", "no application protocol",
        "inappropriate fallback",
    ),
    Reason.TLS_CUT_SHORT: ("unexpected eof",),
}  # fmt: skip
"""Parts of OpenSSL's own words (ssl/ssl_err.c), for each reason; the first that fits counts."""


def reason_of(error: BaseException) -> tuple[Reason, str]:
    """Return the reason of a failed handshake, and what to say of it."""
    if isinstance(error, (ConnectionDone, ConnectionLost)):
        return Reason.TLS_CUT_SHORT, "the connection ended before it was complete"
    queue = error.args[0] if isinstance(error, SSL.Error) and error.args else None
    said = str(queue[-1][-1] if isinstance(queue, (list, tuple)) and queue else error)
    for reason, words in _WORDS.items():
        if any(each in said.casefold() for each in words):
            return reason, said
    return Reason.TLS_FAILED, said


class FailedHandshakes:
    """Looks at the end of each connection, and counts those whose handshake failed."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._seldom = {reason: Seldom() for reason in (*_WORDS, Reason.TLS_FAILED)}

    def look_at(self, protocol: Any, reason: Any) -> None:
        """Look at a ``TLSMemoryBIOProtocol`` that ends for ``reason``, a Failure.

        The attributes are private to Twisted's class: without them nothing is counted. A handshake that we ended
        ourselves, as idle or because the service stops, is no failure.
        """
        failure = getattr(protocol, "_reason", None)
        if getattr(protocol, "_handshakeDone", True) or (failure is None and getattr(protocol, "_aborted", False)):
            return
        why, said = reason_of((failure or reason).value)
        self._counters.drop(why)
        seldom = self._seldom[why]
        if seldom.due():
            peer = protocol.transport.getPeer()
            log.info(
                "a TLS handshake with {host} failed: {said} ({why}){more}",
                host=getattr(peer, "host", peer),
                said=said,
                why=why.value,
                more=seldom.more,
                event="tls_handshake_failed",
            )

"""ALPN: answers a client that offers protocols as a server does that knows none of them.

Twisted 26.10 asks its own select callback of every client that offers any (RFC 7301), also when it has no protocols to
choose from. The callback then returns nothing, which pyOpenSSL takes for an error: the client is refused with an
internal_error. A server without ALPN leaves the extension out of its answer, and the connection goes on.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.logger import Logger

log = Logger()


def answer_alpn(options: Any) -> None:
    """Have the context of ``twisted.internet.ssl.CertificateOptions`` answer clients that offer protocols.

    The options may be shared with another server, which has protocols to choose from: that one still chooses. Anything
    else that makes TLS connections is left as it is.
    """
    if not hasattr(options, "getContext"):
        return
    context = options.getContext()
    if context in _answering:
        return
    static = tuple(getattr(options, "_acceptableProtocols", None) or ())

    def select(connection: SSL.Connection, offered: Sequence[bytes]) -> Any:
        protocol: Any = connection.get_app_data()
        negotiating: Any = IProtocolNegotiationFactory(getattr(protocol.factory, "wrappedFactory", None), None)
        known = [*([] if negotiating is None else negotiating.acceptableProtocols()), *static]
        if not known:
            return SSL.NO_OVERLAPPING_PROTOCOLS
        return next((each for each in known if each in offered), b"")  # none: Twisted refuses, as whoever has some asks

    try:
        context.set_alpn_select_callback(select)
    except ValueError:  # pyOpenSSL changes no context that has been used
        log.warn(
            "the tls_options were used before: if clients that offer ALPN are refused, give options of their own",
            event="tls_options_reused",
        )
    else:
        _answering.add(context)


_answering: weakref.WeakSet[Any] = weakref.WeakSet()

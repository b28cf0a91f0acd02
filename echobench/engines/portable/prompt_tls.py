"""Twisted's TLS transport with fewer calls for each read and each answer, for the server and for the generator."""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from .openssl import ROOM, BulkCalls, bulk_calls
from .records import Records

PRIVATE: Final = (
    "_aborted", "_appSendBuffer", "_flushSendBIO", "_handshakeDone", "_lostTLSConnection", "_shutdownTLS",
    "_tlsConnection", "_tlsShutdownFinished",
)  # fmt: skip
"""Twisted's private attributes that PromptTLSTransport uses."""


class PromptTLSTransport(TLSMemoryBIOProtocol):
    """Twisted's TLS transport, with fewer calls once hands are shaken.

    Twisted's transport asks OpenSSL for plaintext and for bytes to send until an exception says that there are none,
    hands each record to the protocol by itself, and encrypts, fetches and sends each 16 KiB of an answer by themselves.
    This one counts the records that have come whole, hands over what they hold in one piece, and encrypts and sends an
    answer in one piece. It calls OpenSSL's functions themselves (openssl.py).
    """

    transport: Any
    _bulk: BulkCalls | None = None
    """None until hands are shaken, and where something private is missing: then Twisted's class does everything."""

    def makeConnection(self, transport: Any) -> None:
        """Begin to count records."""
        self._records = Records()
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Decrypt what came and hand it over."""
        records = self._records.completed(data)
        bulk = self._bulk
        if bulk is None or self._appSendBuffer or self._lostTLSConnection:
            super().dataReceived(data)
            if bulk is None and all(hasattr(self, name) for name in PRIVATE) and self._handshakeDone:
                self._bulk = bulk_calls(self._tlsConnection)
            self.look_for_the_end()
            return
        pieces: list[bytes] = []
        over, failure = False, None
        try:
            bulk.open(data, records, pieces)
        except SSL.WantReadError:  # a record held something else than plaintext, which OpenSSL may have answered
            self._flushSendBIO()
        except SSL.ZeroReturnError:
            over = True
        except SSL.Error:
            over, failure = True, Failure()
        for piece in pieces:
            if not self._aborted:
                self.wrappedProtocol.dataReceived(piece)
        if over:
            self._over(failure)
        else:
            self.served(records)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """End, and let go of the connection, which refers to us."""
        super().connectionLost(reason)
        self._bulk = None

    def served(self, records: int) -> None:
        """Note that a read brought the ends of so many records."""

    def look_for_the_end(self) -> None:
        """Do what is to be done if the peer has ended; called when it may have."""

    def write(self, data: bytes) -> None:
        """Encrypt and send in one piece."""
        bulk = self._bulk
        if bulk is None or self._appSendBuffer or self._lostTLSConnection or self.disconnecting or not data:
            super().write(data)
            return
        done, sent = bulk.seal(data)
        while sent:
            self.transport.write(sent)
            sent = bulk.rest() if len(sent) == ROOM else b""
        if done < len(data):  # OpenSSL waits for the peer's part of a new handshake, or cannot go on
            super().write(data[done:])

    def _over(self, failure: Failure | None) -> None:
        """End after the peer's goodbye, or a failure."""
        if not self._lostTLSConnection:
            if failure is None:
                self._shutdownTLS()
            self._tlsShutdownFinished(failure)
            self.look_for_the_end()

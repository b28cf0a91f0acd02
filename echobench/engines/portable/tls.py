"""TLS over the same protocols, without losing what came before the goodbye, and with fewer calls.

Twisted's own TLS transport does lose it, in two ways. It gathers small writes until the reactor's next turn. When the
peer's close_notify is in the same read as its last bytes, their answer is still being gathered when TLS is over. And
Twisted tells the protocol of a close_notify only when the connection is gone, so a peer that then takes nothing is
waited for without a deadline. The transport here writes at once, and reports the close_notify at once.

TLS has no half-close in Twisted: close_notify ends both directions (RFC 8446, 6.1 would allow the other to go on).
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from ...counters import Counters
from .alpn import answer_alpn
from .handshakes import FailedHandshakes
from .openssl import ROOM, BulkCalls, bulk_calls
from .records import Records

PRIVATE: Final = (
    "_aborted", "_appSendBuffer", "_flushSendBIO", "_handshakeDone", "_lostTLSConnection", "_shutdownTLS",
    "_tlsConnection", "_tlsShutdownFinished",
)  # fmt: skip
"""Twisted's private attributes that PromptTLSTransport uses."""


class EchoTLSTransport(TLSMemoryBIOProtocol):
    """A TLS transport that encrypts each write as it comes.

    It reports the peer's close_notify as its end of file.
    """

    factory: EchoTLSFactory
    transport: Any
    _told = False

    def dataReceived(self, data: bytes) -> None:
        """Decrypt what came, and see whether the peer has ended.

        After the peer's close_notify, or an error, the TCP transport below is closing. A handshake that failed is no
        end of file: to close would be to abort, and the reset might overtake the alert that says why.
        """
        super().dataReceived(data)
        if getattr(self, "_handshakeDone", True):
            self.look_for_the_end()

    def look_for_the_end(self) -> None:
        """Tell the protocol once that the peer has ended."""
        if self.transport.disconnecting and not self._told and not self.disconnecting:
            self._told = True
            protocol = IHalfCloseableProtocol(self.wrappedProtocol, None)
            if protocol is not None:
                protocol.readConnectionLost()

    def hangUp(self) -> None:
        """Close the TCP connection; our close_notify is out, and the peer's is not waited for (RFC 8446, 6.1)."""
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Count a handshake that failed, and end."""
        self.factory.failed.look_at(self, reason)
        super().connectionLost(reason)


class PromptTLSTransport(EchoTLSTransport):
    """The same, with fewer calls once hands are shaken.

    Twisted's transport asks OpenSSL for plaintext and for bytes to send until an exception says that there are none,
    hands each record to the protocol by itself, and encrypts, fetches and sends each 16 KiB of an answer by themselves.
    This one counts the records that have come whole, hands over what they hold in one piece, and encrypts and sends an
    answer in one piece. It calls OpenSSL's functions themselves (openssl.py).
    """

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
        if over and not self._lostTLSConnection:
            if failure is None:
                self._shutdownTLS()
            self._tlsShutdownFinished(failure)
            self.look_for_the_end()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """End, and let go of the connection, which refers to us."""
        super().connectionLost(reason)
        self._bulk = None

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


class EchoTLSFactory(TLSMemoryBIOFactory):
    """Puts TLS between a factory and its transports.

    It passes on the factory's refusal of a peer, and counts handshakes that fail.
    """

    protocol = PromptTLSTransport

    def __init__(
        self, options: Any, factory: IProtocolFactory, clock: IReactorTime, counters: Counters | None = None
    ) -> None:
        answer_alpn(options)
        super().__init__(options, isClient=False, wrappedFactory=factory, clock=clock)
        self.failed = FailedHandshakes(counters or Counters())

    def buildProtocol(self, addr: IAddress | None) -> EchoTLSTransport | None:  # type: ignore[override]
        """Wrap the factory's protocol, or return None (which Twisted's would wrap too)."""
        protocol = self.wrappedFactory.buildProtocol(addr)
        return None if protocol is None else self.protocol(self, protocol)

"""TLS over the same protocols, without losing what came before the goodbye, and with fewer calls.

Twisted's own TLS transport does lose it, in two ways. It gathers small writes until the reactor's next turn. When the
peer's close_notify is in the same read as its last bytes, their answer is still being gathered when TLS is over. And
Twisted tells the protocol of a close_notify only when the connection is gone, so a peer that then takes nothing is
waited for without a deadline. The transport here writes at once, and reports the close_notify at once.

TLS has no half-close in Twisted: close_notify ends both directions (RFC 8446, 6.1 would allow the other to go on).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory

from ...counters import Counters
from .alpn import answer_alpn
from .direct_tls import DirectTLSTransport
from .handshakes import FailedHandshakes


class EchoTLSTransport(DirectTLSTransport):
    """A TLS transport that encrypts each write as it comes, and reports the peer's close_notify as its end of file."""

    factory: EchoTLSFactory
    _told = False

    def look_for_the_end(self) -> None:
        """Tell the protocol once that the peer has ended.

        After the peer's close_notify, or an error, the TCP transport below is closing. A handshake that failed is no
        end of file: to close would be to abort, and the reset might overtake the alert that says why.
        """
        if not getattr(self, "_handshakeDone", True):
            return
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


class EchoTLSFactory(TLSMemoryBIOFactory):
    """Puts TLS between a factory and its transports.

    It passes on the factory's refusal of a peer, and counts handshakes that fail.
    """

    protocol = EchoTLSTransport

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

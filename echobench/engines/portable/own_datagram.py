"""Guards and counts for an embedding program's own datagram protocol."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from ...counters import Counters, why_unsent
from ...protocol import EchoUDP
from .. import Setting


class OwnTransport:
    """The transport that an own datagram protocol sends with.

    UDP loses datagrams, so one that cannot be sent is counted, and no error is raised.
    """

    def __init__(self, port: Any, counters: Counters) -> None:
        self._port = port
        self._counters = counters

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send a datagram to ``addr``."""
        try:
            self._port.write(datagram, addr)
        except (OSError, MessageLengthError) as error:
            self._counters.drop(why_unsent(error))

    def getHost(self) -> Any:
        """Say where the socket is bound."""
        return self._port.getHost()

    def stopListening(self) -> Any:
        """Close the socket; fires when that is done."""
        return self._port.stopListening()


class OwnDatagrams(DatagramProtocol):
    """Stands between one socket and the own protocol that serves it."""

    noisy = False
    transport: Any

    def __init__(self, setting: Setting, protocol: Any) -> None:
        self._guard = setting.guard
        self._counters = setting.counters
        self._protocol = protocol

    def startProtocol(self) -> None:
        """Start the own protocol."""
        self._transport = OwnTransport(self.transport, self._counters)
        self._protocol.makeConnection(self._transport)

    def stopProtocol(self) -> None:
        """Stop it."""
        self._protocol.doStop()

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        """Hand over a datagram, or count why not."""
        if (refused := self._guard.refuses(addr[0], addr[1])) is not None:
            self._counters.drop(refused)
            return
        self._counters.datagrams += 1
        self._counters.datagram_bytes += len(data)
        self._protocol.datagramReceived(data, addr)


def check_datagram_protocol(protocol: Any) -> None:
    """Raise TypeError for what cannot make datagram protocols."""
    if not callable(protocol):
        raise TypeError(
            f"datagram_protocol is {protocol!r}: give a DatagramProtocol class, or a function that makes one; "
            "each socket gets its own"
        )


def protocol_for(setting: Setting, protocol: Any) -> DatagramProtocol:
    """Make the protocol that serves one socket.

    EchoUDP and classes derived from it serve as they are; what any other ``protocol`` makes is put behind the guard.
    """
    if protocol is None or (isinstance(protocol, type) and issubclass(protocol, EchoUDP)):
        made: DatagramProtocol = (protocol or EchoUDP)(guard=setting.guard, counters=setting.counters)
        return made
    return OwnDatagrams(setting, protocol())

"""Twisted as its documentation has it: the reactor waits, transports keep what is to be sent, and calls go to us."""

import sys

from twisted.internet import reactor as global_reactor
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.protocols.wire import Echo


class EchoDatagrams(DatagramProtocol):
    """Sends each datagram back."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Answer one."""
        assert self.transport is not None
        self.transport.write(datagram, addr)


def main(port: int) -> None:
    """Serve TCP and UDP."""
    reactor: object = global_reactor
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")  # type: ignore[attr-defined]
    reactor.listenUDP(port, EchoDatagrams(), interface="127.0.0.1", maxPacketSize=65536)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Twisted as its documentation has it: the reactor waits, transports keep what is to be sent, and calls go to us."""

import sys
from typing import Any

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
    from twisted.internet import reactor as found  # here, as it installs one for the whole process

    reactor: Any = found
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")
    reactor.listenUDP(port, EchoDatagrams(), interface="127.0.0.1", maxPacketSize=65536)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

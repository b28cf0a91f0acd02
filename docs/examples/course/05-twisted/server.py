"""The echo server that every tutorial of Twisted has."""

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    """One connection: Twisted makes one for each client, and calls its methods."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # never waits: what the kernel does not take now, the transport keeps


def main(port: int) -> None:
    listening = reactor.listenTCP(port, Factory.forProtocol(Echo), backlog=1024, interface="127.0.0.1")
    print("ready on port", listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

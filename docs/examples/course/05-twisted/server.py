"""The echo server that every tutorial of Twisted has."""

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    """One connection: Twisted makes one for each client, and calls its methods."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # never waits: the transport keeps the rest


def main(port: int) -> None:
    factory = Factory.forProtocol(Echo)
    listening = reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")
    print("ready on port", listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

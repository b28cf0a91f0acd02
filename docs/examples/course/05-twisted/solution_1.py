"""Exercise 1, solved: each protocol tells its factory when it begins and ends."""

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    """One connection."""

    def connectionMade(self) -> None:
        self.factory.open += 1  # Factory.buildProtocol has set self.factory

    def connectionLost(self, reason: object = None) -> None:
        self.factory.open -= 1

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EchoFactory(Factory):
    """Makes a protocol for each connection."""

    protocol = Echo
    open = 0  # connections that are open


def main(port: int) -> None:
    listening = reactor.listenTCP(port, EchoFactory(), backlog=1024, interface="127.0.0.1")
    print("ready on port", listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

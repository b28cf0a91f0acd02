"""The server of the last chapter: half-closes are well, and there is no back-pressure."""

import sys

from twisted.internet import reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer


@implementer(IHalfCloseableProtocol)  # else Twisted closes at the client's end of file
class Echo(Protocol):
    """One connection: Twisted makes one for each client, and calls its methods."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # never waits: the transport keeps the rest

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()  # closes when everything is written

    def writeConnectionLost(self) -> None:
        """Do nothing: it is we who have closed that direction."""


def main(port: int) -> None:
    factory = Factory.forProtocol(Echo)
    listening = reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")
    print("ready on port", listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

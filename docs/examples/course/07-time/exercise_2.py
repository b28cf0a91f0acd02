"""Exercise 2: a server that believes the time of day."""

import sys
import time

from twisted.internet import reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

SILENCE = 2.0  # seconds without a byte, after which we end a connection


@implementer(IHalfCloseableProtocol)  # else Twisted closes at the client's end of file
class Echo(Protocol):
    """One connection: Twisted makes one for each client, and calls its methods."""

    def connectionMade(self) -> None:
        # The transport is the producer of what we write: it pauses itself.
        self.transport.registerProducer(self.transport, True)
        self.clock = self.factory.clock
        self.moved = time.time()
        self.timer = self.clock.callLater(SILENCE, self.look)

    def look(self) -> None:
        """End the connection if nothing moved for too long; else look again then."""
        left = self.moved + SILENCE - time.time()
        if left > 0:
            self.timer = self.clock.callLater(left, self.look)
        else:
            self.transport.abortConnection()  # loseConnection would wait for the peer

    def connectionLost(self, reason: object = None) -> None:
        if self.timer.active():
            self.timer.cancel()

    def dataReceived(self, data: bytes) -> None:
        self.moved = time.time()
        self.transport.write(data)  # never waits: the transport keeps the rest

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()  # there is nothing more to produce
        self.transport.loseConnection()  # closes when everything is written

    def writeConnectionLost(self) -> None:
        """Do nothing: it is we who have closed that direction."""


def main(port: int) -> None:
    factory = Factory.forProtocol(Echo)
    factory.clock = reactor  # what keeps time is given, so that a test can give another
    listening = reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")
    print("ready on port", listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Exercise 2, solved: the reason is a Failure, and check tells its class."""

import sys
from collections import Counter

from twisted.internet import error, reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure


class Echo(Protocol):
    """One connection."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure = Failure(error.ConnectionDone())) -> None:  # noqa: B008
        if reason.check(error.ConnectionDone):
            self.factory.ends["closed"] += 1
        elif reason.check(error.ConnectionAborted):  # a kind of ConnectionLost? no: it has a class of its own
            self.factory.ends["aborted"] += 1
        else:
            self.factory.ends["reset"] += 1


class EchoFactory(Factory):
    """Makes a protocol for each connection."""

    protocol = Echo

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()


def main(port: int) -> None:
    listening = reactor.listenTCP(port, EchoFactory(), backlog=1024, interface="127.0.0.1")
    print("ready on port", listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Exercise 2: why did the connection end? The factory should count."""

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
        self.factory.ends["ended"] += 1


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

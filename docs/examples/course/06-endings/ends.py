"""The four ways a connection ends, each made on loopback: what Twisted calls, and what the client sees."""

import socket
import struct

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from zope.interface import implementer


@implementer(IHalfCloseableProtocol)
class Watched(Protocol):
    """Notes which of its methods are called."""

    def connectionMade(self) -> None:
        self.calls: list[str] = []
        self.ended: Deferred[None] = Deferred()
        self.factory.made.callback(self)

    def readConnectionLost(self) -> None:
        self.calls.append("readConnectionLost")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        self.calls.append("writeConnectionLost")

    def connectionLost(self, reason: object) -> None:
        self.calls.append(f"connectionLost({reason.type.__name__})")
        self.ended.callback(None)


def reset(client: socket.socket) -> None:
    """Let closing reset the connection."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def end(client: socket.socket) -> str:
    """Wait for the end that the client sees."""
    try:
        return "end of file" if client.fileno() < 0 or not client.recv(1) else "data"
    except ConnectionResetError:
        return "reset"


WAYS = {
    "the client half-closes": lambda client, server: client.shutdown(socket.SHUT_WR),
    "the client resets": lambda client, server: reset(client),
    "we call loseConnection": lambda client, server: server.transport.loseConnection(),
    "we call abortConnection": lambda client, server: server.transport.abortConnection(),
}


@inlineCallbacks
def show(port: int, factory: Factory):
    """Make each end in turn, and print what was called."""
    for way, make in WAYS.items():
        factory.made = Deferred()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            server = yield factory.made
            make(client, server)
            seen = "-" if client.fileno() < 0 else (yield deferToThread(end, client))
        yield server.ended
        print(f"{way:24} {', '.join(server.calls):52} client: {seen}")


if __name__ == "__main__":
    factory = Factory.forProtocol(Watched)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
    show(port, factory).addErrback(lambda failure: failure.printTraceback()).addBoth(lambda _: reactor.stop())
    reactor.run()

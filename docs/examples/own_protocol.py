"""A server of one's own made from Echo: it answers in capitals, and keeps all that Echo takes care of."""

from __future__ import annotations

import socket

from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from echobench import Echo, EchoFactory, install_best_reactor


class Capitals(Echo):
    """Sends back what came, in capitals."""

    def connectionMade(self) -> None:
        super().connectionMade()  # becomes the producer, joins the factory, starts the clock
        print("a client came from", self.transport.getPeer().host)

    def dataReceived(self, data: bytes) -> None:
        # Reads are cut anywhere, so change what does not depend on where: here single bytes of ASCII.
        super().dataReceived(data.upper())


def ask(number: int, text: bytes) -> bytes:
    """Send a text, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", number), timeout=5) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


async def main(reactor: object) -> None:
    factory = EchoFactory(protocol=Capitals, idle_timeout=60, reactor=reactor)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    print("answer:", await deferToThread(ask, port.getHost().port, b"hello"))
    await port.stopListening()
    await factory.drain()


if __name__ == "__main__":
    install_best_reactor()
    react(main)

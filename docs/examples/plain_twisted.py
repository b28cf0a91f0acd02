"""The three protocol classes in a plain Twisted program, without a service."""

from __future__ import annotations

import socket

from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from echobench import Caps, Counters, EchoFactory, EchoUDP, install_best_reactor


def ask(number: int, text: bytes) -> tuple[bytes, bytes]:
    """Send a text over TCP and over UDP, and return both answers."""
    with socket.create_connection(("127.0.0.1", number), timeout=5) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        over_tcp = b"".join(iter(lambda: client.recv(4096), b""))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", number))
        client.send(text)
        return over_tcp, client.recv(65536)


async def main(reactor: object) -> None:
    counters = Counters()  # one set for both, if you like
    factory = EchoFactory(caps=Caps(total=1000, per_source=50), counters=counters, idle_timeout=60, reactor=reactor)
    streams = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=1024)
    number = streams.getHost().port
    # Without maxPacketSize Twisted cuts off what is longer than 8,192 bytes, and says nothing.
    datagrams = reactor.listenUDP(number, EchoUDP(counters=counters), interface="127.0.0.1", maxPacketSize=65536)

    over_tcp, over_udp = await deferToThread(ask, number, b"hello")
    print("over TCP:", over_tcp)
    print("over UDP:", over_udp)
    print(counters.snapshot())

    await streams.stopListening()  # no new connections,
    await factory.drain()  # the open ones end once their peers have everything,
    await datagrams.stopListening()


if __name__ == "__main__":
    install_best_reactor()
    react(main)

"""A key-value store over TCP and a clock over UDP, served by EchoService in place of echo."""

from __future__ import annotations

import socket
import time

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.protocols.basic import LineReceiver

from echobench import EchoService, install_best_reactor

STORE: dict[bytes, bytes] = {}


class Store(LineReceiver):
    """Answers ``SET key value`` with OK, ``GET key`` with the value, and any other line with ERROR."""

    MAX_LENGTH = 1000  # bytes in a line; a longer one ends the connection

    def connectionMade(self) -> None:
        # A client that sends and does not read stops being read, and fills no memory.
        self.transport.registerProducer(self.transport, True)

    def lineReceived(self, line: bytes) -> None:
        match line.split(b" ", 2):
            case [b"SET", key, value]:
                STORE[key] = value
                self.sendLine(b"OK")
            case [b"GET", key] if key in STORE:
                self.sendLine(STORE[key])
            case _:
                self.sendLine(b"ERROR")

    def drain(self) -> None:
        self.sendLine(b"BYE")  # the service stops: it closes the connection when this has returned


class Clock(DatagramProtocol):
    """Answers each datagram with the seconds since 1970."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.transport.write(b"%d" % time.time(), addr)


def ask(host: str, port: int) -> None:
    """Use both, and check what they answer."""
    with socket.create_connection((host, port), timeout=5) as client:
        client.sendall(b"SET colour blue\r\nGET colour\r\nGET nothing\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer == b"OK\r\nblue\r\nERROR\r\n", answer
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"what time is it?", (host, port))
        assert abs(int(client.recv(100)) - time.time()) < 60
    print("answers:", answer.split())


async def main(reactor: object) -> None:
    service = EchoService(
        0,
        ["127.0.0.1"],
        protocol=Store,
        datagram_protocol=Clock,
        max_connections=1000,
        idle_timeout=60,
        udp_rate=100,
        reactor=reactor,
    )
    service.startService()
    (_, address), _ = service.addresses()
    await deferToThread(ask, address.host, address.port)
    await service.stopService()
    counted = service.snapshot()
    print(f"{counted.connections} connection, {counted.stream_bytes} bytes, {counted.datagrams} datagram")


if __name__ == "__main__":
    install_best_reactor()
    react(main)

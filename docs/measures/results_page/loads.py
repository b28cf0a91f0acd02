"""The loads of the results page, each with a name, and the server in C that the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """A load: how it is offered by peers/driver, and to which server in C the ratios are formed."""

    name: str
    title: str
    driver: tuple[str, ...]
    reference: str

    @property
    def transport(self) -> str:
        return self.driver[0] if self.driver[0] in {"udp", "tls"} else "tcp"


def _tcp(name: str, title: str, *options: str) -> Load:
    return Load(name, title, ("tcp", *options), "c-epoll")


def _tls(name: str, title: str, *options: str) -> Load:
    return Load(name, title, ("tls", *options), "c-tls")


LOADS = {
    each.name: each
    for each in (
        _tcp("tcp-50", "TCP, 50 connections", "-c", "50"),
        _tcp("tcp-4", "TCP, 4 connections", "-c", "4"),
        _tcp("tcp-1", "TCP, 1 connection", "-c", "1"),
        _tcp("tcp-1000", "TCP, 1,000 connections", "-c", "1000"),
        _tcp("tcp-50x16", "TCP, 50 connections, 16 messages each", "-c", "50", "-w", "16"),
        _tcp("tcp-16k", "TCP, 8 connections, messages of 16 KiB", "-c", "8", "-s", "16384"),
        _tcp("tcp-64k", "TCP, 8 connections, messages of 64 KiB", "-c", "8", "-s", "65536"),
        Load("udp-16", "UDP, 16 sockets, 12 datagrams each", ("udp", "-c", "16", "-w", "12"), "c-mmsg"),
        Load("udp-1", "UDP, 1 socket, 1 datagram", ("udp",), "c-mmsg"),
        Load(
            "udp-train",
            "UDP, 1 socket, trains of up to 32 datagrams of 1,200 bytes",
            ("udp", "-w", "32", "-s", "1200", "-g"),
            "c-mmsg-gro",
        ),
        Load(
            "udp-train-4",
            "UDP, 4 sockets, trains of up to 40 datagrams of 1,200 bytes",
            ("udp", "-c", "4", "-w", "40", "-s", "1200", "-g"),
            "c-mmsg-gro",
        ),
        _tls("tls-50", "TLS, 50 connections", "-c", "50"),
        _tls("tls-16k", "TLS, 8 connections, messages of 16 KiB", "-c", "8", "-s", "16384"),
        Load("connect-20", "TCP, connect, echo, close; 20 at a time", ("connect", "-c", "20"), "c-epoll"),
    )
}
"""Messages are of 64 bytes, and one is under way on each connection or socket, unless the title says otherwise:
"16 messages each" are 16 that are under way at the same time."""

BEFORE_AFTER = ("tcp-50", "tcp-4", "tcp-1", "udp-16")

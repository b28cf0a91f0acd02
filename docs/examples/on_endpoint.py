"""Echo on Twisted endpoints, a Unix socket among them, with a reactor that is handed in."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

import echobench


def ask(path: str, text: bytes) -> bytes:
    """Send a text to the Unix socket, and return all that comes back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(path)
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


async def main(reactor: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "echo.socket")
        echo = echobench.EchoService(
            None,  # no port of its own
            endpoints=[
                serverFromString(reactor, f"unix:{path}:mode=600"),
                serverFromString(reactor, "tcp:0:interface=127.0.0.1"),
            ],
            reactor=reactor,
        )
        echo.startService()
        for kind, address in echo.addresses():
            print(kind, address)
        print("answer:", await deferToThread(ask, path, b"hello over a file name"))
        await echo.stopService()


if __name__ == "__main__":
    echobench.install_best_reactor()
    react(main)

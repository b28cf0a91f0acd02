"""Echo servers of others, as their documentation has them: ``python stock_echo.py twisted`` or ``asyncio``."""

from __future__ import annotations

import asyncio
import socket
import sys


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def with_twisted(port: int) -> None:
    from twisted.internet import reactor
    from twisted.internet.protocol import DatagramProtocol, Factory
    from twisted.protocols.wire import Echo

    class EchoUDP(DatagramProtocol):
        def datagramReceived(self, datagram, addr):
            self.transport.write(datagram, addr)

    reactor.listenTCP(port, Factory.forProtocol(Echo))
    reactor.listenUDP(port, EchoUDP())
    print(f"echobench ready port={port}", flush=True)
    reactor.run()


async def with_asyncio(port: int) -> None:
    class EchoTCP(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

    class EchoUDP(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            self.transport.sendto(data, addr)

    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(EchoUDP, ("127.0.0.1", port))
    server = await loop.create_server(EchoTCP, "127.0.0.1", port)
    print(f"echobench ready port={port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "twisted":
        with_twisted(free_port())
    else:
        asyncio.run(with_asyncio(free_port()))

"""Echo servers of others, as their documentation has them: ``python stock_echo.py twisted`` or ``asyncio``."""

from __future__ import annotations

import asyncio
import sys

TRIES = 50  # a port that is free for UDP may be taken for TCP, by another test too


def with_twisted() -> None:
    from twisted.internet import reactor
    from twisted.internet.error import CannotListenError
    from twisted.internet.protocol import DatagramProtocol, Factory
    from twisted.protocols.wire import Echo

    class EchoUDP(DatagramProtocol):
        def datagramReceived(self, datagram, addr):
            self.transport.write(datagram, addr)

    for _ in range(TRIES):
        udp = reactor.listenUDP(0, EchoUDP())
        port = udp.getHost().port
        try:
            reactor.listenTCP(port, Factory.forProtocol(Echo))
            break
        except CannotListenError:
            udp.stopListening()
    print(f"echobench ready port={port}", flush=True)
    reactor.run()


async def with_asyncio() -> None:
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
    for _ in range(TRIES):
        transport, _ = await loop.create_datagram_endpoint(EchoUDP, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        try:
            server = await loop.create_server(EchoTCP, "127.0.0.1", port)
            break
        except OSError:
            transport.close()
    print(f"echobench ready port={port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "twisted":
        with_twisted()
    else:
        asyncio.run(with_asyncio())

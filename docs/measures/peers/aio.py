"""TCP and UDP echo as asyncio protocols, with back-pressure: aio.py PORT [--uvloop]"""

from __future__ import annotations

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):  # the peer does not read, so that nothing more is read from it
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def serve(port):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", port))
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    try:
        await server.serve_forever()
    finally:
        transport.close()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
else:
    asyncio.run(serve(int(sys.argv[1])))

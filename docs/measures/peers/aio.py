"""TCP and UDP echo as asyncio protocols, with back-pressure: aio.py PORT [--uvloop] [--tls CERTIFICATE KEY]

With --tls it serves TLS 1.3 alone.
"""

from __future__ import annotations

import asyncio
import ssl
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


def secrets():
    """Give what --tls asks for; None over TCP."""
    if "--tls" not in sys.argv:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(*sys.argv[sys.argv.index("--tls") + 1 :][:2])
    return context


async def serve(port, tls):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=4096, ssl=tls)
    if tls is None:
        await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", port))
    await server.serve_forever()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), secrets()))
else:
    asyncio.run(serve(int(sys.argv[1]), secrets()))

"""The same idea in Python's own library: protocols on asyncio's loop, with back-pressure."""

import asyncio
import sys
from typing import Any


class Echo(asyncio.Protocol):
    """Sends back what a connection brings."""

    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)

    def pause_writing(self) -> None:
        """Read no more of a peer that does not read."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self.transport.resume_reading()


class EchoDatagrams(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Send it back."""
        self.transport.sendto(data, addr)


async def main(port: int) -> None:
    """Serve TCP and UDP."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", port))
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

"""Echo servers to be compared: stock Twisted's, asyncio's, uvloop's and our own; with some per cent more work.

    echobench compare 'twisted=python docs/measures/servers.py twisted {port}' \
        'asyncio=python docs/measures/servers.py asyncio {port}' \
        'same=python docs/measures/servers.py echobench {port}' \
        'slower=python docs/measures/servers.py echobench {port} 10'

The last one measures what an echo costs it in processor time over its first thousands, and from then on does as much
of that again, in per cent, as it is told, by counting the time away.
"""

from __future__ import annotations

import asyncio
import sys
import time

LEARNING = 20_000  # echoes


def twisted(port: int) -> None:
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import protocol, reactor
    from twisted.protocols.wire import Echo

    factory = protocol.Factory.forProtocol(Echo)
    factory.noisy = False
    reactor.listenTCP(port, factory, interface="127.0.0.1")
    reactor.run()


class Work:
    """What is done for each echo besides."""

    def __init__(self, percent: float) -> None:
        self._percent, self._seen, self._began, self._each = percent, 0, 0.0, 0.0

    def __call__(self, echoes: int = 1) -> None:
        if not self._seen:
            self._began = time.process_time()
        self._seen += echoes
        if self._each:
            end = time.perf_counter() + echoes * self._each
            while time.perf_counter() < end:
                pass
        elif self._seen >= LEARNING:
            self._each = (time.process_time() - self._began) / self._seen * self._percent / 100


class Echo(asyncio.Protocol):
    def __init__(self, work: Work | None) -> None:
        self._work = work

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._work is not None:
            self._work()
        self._transport.write(data)


async def serve(port: int, percent: float) -> None:
    work = Work(percent) if percent else None
    server = await asyncio.get_running_loop().create_server(lambda: Echo(work), "127.0.0.1", port)
    await server.serve_forever()


def echobench(port: int, percent: float) -> None:
    """Serve with our own; the work is done where its engines count what they have read."""
    import echobench
    from echobench.counters import Counters

    echobench.install_best_reactor()
    from twisted.internet import reactor

    class Working(Counters):
        work = Work(percent)
        all = 0

        @property
        def reads(self) -> int:
            return self.all

        @reads.setter
        def reads(self, number: int) -> None:
            if number > self.all:
                self.work(number - self.all)
            self.all = number

    service = echobench.EchoService(port, ["127.0.0.1"])
    if percent:
        service.counters = Working()
    service.startService()
    reactor.run()


def main() -> None:
    port = int(sys.argv[2])
    percent = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    if sys.argv[1] == "twisted":
        twisted(port)
    elif sys.argv[1] == "echobench":
        echobench(port, percent)
    elif sys.argv[1] == "uvloop":
        import uvloop

        uvloop.run(serve(port, percent))
    else:
        asyncio.run(serve(port, percent))


main()

"""The store: what all connections share belongs to the factory."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineReceiver

from echobench import EchoService, install_best_reactor


class Talk(LineReceiver):
    """One connection: each line is answered."""

    def lineReceived(self, line):
        self.sendLine(self.factory.answer(line))


class Store(Factory):
    """Keys and values, and what is answered to a line."""

    protocol = Talk
    noisy = False

    def __init__(self):
        self.values = {}

    def answer(self, line):
        match line.split(b" ", 2):
            case [b"SET", key, value]:
                self.values[key] = value
                return b"OK"
            case [b"GET", key]:
                return b"VALUE " + self.values[key] if key in self.values else b"MISSING"
            case [b"DEL", key]:
                return b"OK" if self.values.pop(key, None) is not None else b"MISSING"
            case _:
                return b"ERROR no command " + line[:20]


async def main(reactor, port):
    service = EchoService(
        int(port), ["127.0.0.1"], udp=False, protocol=Store(), reactor=reactor
    )  # fmt: skip
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    print("ready", service.where(), flush=True)
    await Deferred()  # until a signal stops the reactor


if __name__ == "__main__":
    install_best_reactor()
    react(main, sys.argv[1:])

"""Questions over UDP too; an answer is never longer than its question."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineReceiver

from echobench import EchoService, install_best_reactor

MOST = 10_000  # keys: with a line's length it bounds the store to some 10 MB


class Talk(LineReceiver):
    """One connection: each line is answered."""

    MAX_LENGTH = 1000  # bytes in a line

    def connectionMade(self):
        self.transport.registerProducer(self.transport, True)  # so that it pauses itself

    def lineReceived(self, line):
        self.sendLine(self.factory.answer(line))

    def lineLengthExceeded(self, line):
        self.sendLine(b"ERROR a line has at most %d bytes" % self.MAX_LENGTH)
        self.transport.loseConnection()


class Ask(DatagramProtocol):
    """One socket: it answers a question that has left room for the answer."""

    noisy = False

    def __init__(self, store):
        self.store = store

    def datagramReceived(self, datagram, addr):
        question = datagram.rstrip(b"\0")  # the room is filled with zeros
        answer = self.store.answer(question) if question.startswith(b"GET ") else b"ERROR"
        if len(answer) <= len(datagram):  # else we would be an amplifier
            self.transport.write(answer, addr)


class Store(Factory):
    """Keys and values, and what is answered to a line."""

    protocol = Talk
    noisy = False

    def __init__(self):
        self.values = {}

    def answer(self, line):
        match line.split(b" ", 2):
            case [b"SET", key, value]:
                if len(self.values) >= MOST and key not in self.values:
                    return b"ERROR the store is full"
                self.values[key] = value
                return b"OK"
            case [b"GET", key]:
                return b"VALUE " + self.values[key] if key in self.values else b"MISSING"
            case [b"DEL", key]:
                return b"OK" if self.values.pop(key, None) is not None else b"MISSING"
            case _:
                return b"ERROR no command " + line[:20]


async def main(reactor, port):
    store = Store()
    service = EchoService(
        int(port), ["127.0.0.1"], protocol=store, reactor=reactor,
        datagram_protocol=lambda: Ask(store), udp_rate=1000,
        max_connections=1000, max_connections_per_source=200, idle_timeout=60,
    )  # fmt: skip
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    print("ready", service.where(), flush=True)
    await Deferred()  # until a signal stops the reactor


if __name__ == "__main__":
    install_best_reactor()
    react(main, sys.argv[1:])

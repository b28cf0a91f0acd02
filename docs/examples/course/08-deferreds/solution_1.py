"""Exercise 1, solved: all questions are asked at once, and each answer waits for the one before it."""

import sys

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver


def look_up(line):
    """Ask somebody else: a Deferred that fires with the answer, the later the longer the line is."""
    return deferLater(reactor, len(line) / 50, lambda: line)


class Talk(LineReceiver):
    def connectionMade(self):
        self.last = succeed(None)

    def lineReceived(self, line):
        self.last = ensureDeferred(self.answer(look_up(line), self.last))

    async def answer(self, found, before):
        line = await found
        await before
        self.sendLine(line)


async def start(port):
    factory = Factory.forProtocol(Talk)
    endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    listening = await endpoint.listen(factory)
    print("ready on port", listening.getHost().port, flush=True)


if __name__ == "__main__":
    ensureDeferred(start(int(sys.argv[1])))
    reactor.run()  # until SIGINT or SIGTERM

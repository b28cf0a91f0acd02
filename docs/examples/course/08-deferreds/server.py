"""An echo of lines in Twisted that asks somebody else before it answers."""

import sys

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver


def look_up(line):
    """Ask somebody else: a Deferred that fires with the answer, half a second later."""
    return deferLater(reactor, 0.5, lambda: line)


class Talk(LineReceiver):
    def lineReceived(self, line):
        ensureDeferred(self.answer(line))

    async def answer(self, line):
        self.sendLine(await look_up(line))


async def start(port):
    factory = Factory.forProtocol(Talk)
    endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    listening = await endpoint.listen(factory)
    print("ready on port", listening.getHost().port, flush=True)


if __name__ == "__main__":
    ensureDeferred(start(int(sys.argv[1])))
    reactor.run()  # until SIGINT or SIGTERM

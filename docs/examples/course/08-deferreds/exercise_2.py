"""Exercise 2: a question that fails is heard of by nobody."""

import sys

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver

KNOWN = {line: line for line in (b"good", b"better", b"echobench verify")}


def look_up(line):
    """Ask somebody else: a Deferred that fires with the answer, or fails."""
    return deferLater(reactor, 0.01, lambda: KNOWN[line])


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

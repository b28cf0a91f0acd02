"""An echo of lines in Twisted that stops in order."""

import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver


def look_up(line):
    """Ask somebody else: a Deferred that fires with the answer, half a second later."""
    return deferLater(reactor, 0.5, lambda: line)


class Talk(LineReceiver):
    def connectionMade(self):
        self.ended = Deferred()
        self.factory.open.add(self)

    def connectionLost(self, reason):
        self.factory.open.discard(self)
        self.ended.callback(None)

    def lineReceived(self, line):
        promise = ensureDeferred(self.answer(line))
        self.factory.promises.add(promise)
        promise.addBoth(lambda _: self.factory.promises.discard(promise))

    async def answer(self, line):
        self.sendLine(await look_up(line))


async def start(port):
    factory = Factory.forProtocol(Talk)
    factory.open, factory.promises = set(), set()
    endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    listening = await endpoint.listen(factory)
    reactor.addSystemEventTrigger(
        "before",
        "shutdown",
        lambda: ensureDeferred(stop(listening, factory)),
    )
    print("ready on port", listening.getHost().port, flush=True)


async def stop(listening, factory):
    """Stop in order; the reactor waits for it, as a trigger "before" its shutdown."""
    await listening.stopListening()  # no new promises
    await within(5, factory.promises)  # the old ones
    ends = [talk.ended for talk in factory.open]
    for talk in [*factory.open]:
        talk.transport.loseConnection()  # begins the end: first what was written goes out
    await within(5, ends)


def within(seconds, deferreds):
    """Wait for all of them, and not for ever."""

    def late(*_):
        print("not all ended")

    return DeferredList([*deferreds]).addTimeout(seconds, reactor, onTimeoutCancel=late)


if __name__ == "__main__":
    ensureDeferred(start(int(sys.argv[1])))
    reactor.run()  # until SIGINT or SIGTERM

"""Lines in place of bytes: a stream has no messages, so the protocol has to find them."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.protocols.basic import LineReceiver

from echobench import EchoService, install_best_reactor


class Talk(LineReceiver):
    """One connection: each line is answered."""

    def lineReceived(self, line):
        self.sendLine(b"ERROR no command " + line[:20])


async def main(reactor, port):
    service = EchoService(
        int(port), ["127.0.0.1"], udp=False, protocol=Talk, reactor=reactor
    )  # fmt: skip
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    print("ready", service.where(), flush=True)
    await Deferred()  # until a signal stops the reactor


if __name__ == "__main__":
    install_best_reactor()
    react(main, sys.argv[1:])

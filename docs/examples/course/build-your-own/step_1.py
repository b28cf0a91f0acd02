"""Echo over TCP as a service, with limits, counters and an orderly stop."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from echobench import EchoService, install_best_reactor


async def main(reactor, port):
    service = EchoService(int(port), ["127.0.0.1"], udp=False, reactor=reactor)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    print("ready", service.where(), flush=True)
    await Deferred()  # until a signal stops the reactor


if __name__ == "__main__":
    install_best_reactor()
    react(main, sys.argv[1:])

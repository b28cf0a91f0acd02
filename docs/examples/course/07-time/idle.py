"""Test: when is a connection ended, and how many timers does that take? Usage: idle.py FILE.

No socket is opened, and nothing waits: the clock is ours, and we set it.
"""

import importlib.util
import sys

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)


class CountingClock(Clock):
    """A clock that stands still until it is advanced, and counts timers."""

    timers = 0

    def callLater(self, when, what, *args, **kwargs):
        self.timers += 1
        return super().callLater(when, what, *args, **kwargs)


def connected():
    """Give a clock and a protocol with a connection."""
    factory = Factory.forProtocol(program.Echo)
    factory.clock = CountingClock()
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    return factory.clock, protocol


clock, echo = connected()
clock.advance(1.9)
if echo.transport.disconnecting:
    sys.exit("an idle connection was ended after 1.9 s")
clock.advance(0.2)
if not echo.transport.disconnecting:
    sys.exit("an idle connection is open after 2.1 s")

clock, echo = connected()
for _ in range(1000):
    clock.advance(0.01)
    echo.dataReceived(b"x")
if echo.transport.disconnecting:
    sys.exit("a busy connection was ended")
if clock.timers > 20:
    sys.exit(f"1,000 reads in 10 s took {clock.timers:,} timers; 20 are enough")
clock.advance(2.1)
if not echo.transport.disconnecting:
    sys.exit("a connection is open 2.1 s after its last byte")

clock, echo = connected()
echo.connectionLost(None)
if clock.getDelayedCalls():
    sys.exit("a timer outlives its connection")
print("idle connections end after 2 s, busy ones do not, and no timer is left")

"""Test: does it matter that somebody sets the clock? Usage: jump.py FILE; nothing waits."""

import importlib.util
import sys
import time

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

clock, summer = Clock(), 0  # seconds by which the time of day is wrong
time.time = lambda: 1.7e9 + clock.seconds() + summer
time.monotonic = clock.seconds

for change, when in ((3600, "forward"), (-3600, "back")):
    summer = 0
    factory = Factory.forProtocol(program.Echo)
    factory.clock = clock
    echo = factory.buildProtocol(None)
    echo.makeConnection(StringTransport())
    clock.advance(1)
    echo.dataReceived(b"x")
    summer = change
    clock.advance(1.5)
    if echo.transport.disconnecting:
        sys.exit(f"the clock was set {when} by an hour, and a busy connection was ended")
    clock.advance(1)
    if not echo.transport.disconnecting:
        sys.exit(f"the clock was set {when} by an hour, and an idle connection stays for an hour")
print("whatever the time of day, a connection ends 2 s after its last byte")

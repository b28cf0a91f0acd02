"""Test: does the factory know how many connections are open? Usage: count.py FILE; no socket is opened."""

import importlib.util
import sys

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

factory = program.EchoFactory()
protocols = [factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1024 + index)) for index in range(3)]
if factory.open != 0:
    sys.exit(f"before any connection is made the count is {factory.open}")
for number, each in enumerate(protocols, 1):
    each.makeConnection(StringTransport())
    if factory.open != number:
        sys.exit(f"with {number} connections open the count is {factory.open}")
protocols[0].dataReceived(b"hello")
if protocols[0].transport.value() != b"hello":
    sys.exit(f"b'hello' was sent, and {protocols[0].transport.value()!r} came back")
for left, each in ((2, protocols[1]), (1, protocols[0]), (0, protocols[2])):
    each.connectionLost(Failure(ConnectionDone()))
    if factory.open != left:
        sys.exit(f"with {left} connections left the count is {factory.open}")
print("the count followed three connections up and down")

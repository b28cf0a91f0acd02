"""Test: are ends counted as closed, reset and aborted? Usage: reasons.py FILE; no socket is opened."""

import importlib.util
import sys

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

factory = program.EchoFactory()
for kind in (ConnectionDone, ConnectionLost, ConnectionDone, ConnectionAborted, ConnectionDone, ConnectionLost):
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    protocol.connectionLost(Failure(kind()))
if dict(factory.ends) != {"closed": 3, "reset": 2, "aborted": 1}:
    sys.exit(f"of 6 connections 3 were closed, 2 reset and 1 aborted; the factory says {dict(factory.ends)}")
print("3 closed, 2 reset and 1 aborted were counted")

"""Protocols of the tests' own, and a service that serves them."""

from __future__ import annotations

import pytest
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.basic import LineReceiver


class Reverse(LineReceiver):
    """Answers each line reversed."""

    def lineReceived(self, line):
        self.sendLine(line[::-1])


class Quiet(Protocol):
    """Keeps what it hears, and lists itself in its factory."""

    def __init__(self):
        self.heard, self.lost = b"", None
        made.append(self)

    def dataReceived(self, data):
        self.heard += data

    def connectionLost(self, reason=connectionDone):
        self.lost = reason


made: list[Quiet] = []


@pytest.fixture
def own(serve):
    made.clear()

    def start(protocol=Reverse, **options):
        return serve(0, ("127.0.0.1",), protocol=protocol, udp=False, **options)

    return start

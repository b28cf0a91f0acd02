"""A reactor whose time and turns are the test's, and peers that do not block, for engines that are called by hand."""

from __future__ import annotations

import contextlib
import socket

from rigs.helpers import pattern
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from zope.interface import implementer

CONTENT = pattern(8 << 20)


@implementer(IReactorFDSet)
class Reactor(Clock):
    """Time that the test moves, and the one descriptor that an engine asks to have watched."""

    def __init__(self):
        super().__init__()
        self.readers = set()

    def addReader(self, reader):
        self.readers.add(reader)

    def removeReader(self, reader):
        self.readers.discard(reader)


class Peer:
    """A client that does not block; it knows what it has sent, and checks all that it gets."""

    def __init__(self, port):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.sent = self.got = 0
        self.half_closed = self.ended = False

    def send(self, size):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.sent += self.sock.send(CONTENT[self.sent : self.sent + size])

    def receive(self, size):
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return False
        except ConnectionError:
            self.ended = True
            return False
        assert data == CONTENT[self.got : self.got + len(data)]
        self.got += len(data)
        self.ended = self.ended or not data
        return bool(data)

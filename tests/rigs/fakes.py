"""Transports, endpoints and ports that do nothing by themselves."""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.testing import StringTransport
from zope.interface import implementer


class Transport(StringTransport):
    """A transport that holds what was written until ``take``, as a TCP one does."""

    def __init__(self):
        super().__init__()
        self.dataBuffer, self.offset = b"", 0
        self.no_delay = self.half_closed = self.aborting = False

    def setTcpNoDelay(self, on):
        self.no_delay = on

    def write(self, data):
        super().write(data)
        self.dataBuffer += data
        if len(self.dataBuffer) > 1 << 16 and self.producer is not None:
            self.producer.pauseProducing()

    def take(self, size):
        """The peer takes so many bytes."""
        self.offset += size
        if self.offset >= len(self.dataBuffer):
            self.dataBuffer, self.offset = b"", 0
            if self.producer is not None and self.producerState == "paused":
                self.producer.resumeProducing()

    def loseWriteConnection(self):
        self.half_closed = True

    def unregisterProducer(self):
        if self.producer is not None:
            super().unregisterProducer()

    def abortConnection(self):
        self.aborting = True


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Listens when it is told to, or never."""

    def __init__(self, result):
        self.result = result

    def listen(self, factory):
        return self.result


@implementer(IListeningPort)
class Port:
    stopped = False

    def startListening(self):
        pass

    def getHost(self):
        return UNIXAddress(b"/late")

    def stopListening(self):
        self.stopped = True

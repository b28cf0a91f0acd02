"""A TCP transport that sends at once, made from Twisted's own."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet import abstract, tcp
from twisted.internet.error import ConnectionAborted
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure

from ...kernel.disconnect import disconnect
from ...queues import send_queue

PRIVATE: Final = ("_tempDataBuffer", "_tempDataLen", "_writeDisconnected", "_aborting")
"""Twisted's private attributes that PromptTransport reads."""


class PromptTransport(tcp.Server):
    """Twisted's transport, but it sends at once if nothing waits to be sent.

    Twisted's own ``write`` only appends. Then the reactor is asked to watch for writability (a system call), reports in
    its next turn that the socket is writable (it nearly always is), and is asked to stop watching (another one). A
    small message costs three system calls that way, of six in all. What the kernel does not take at once still goes
    that way.
    """

    def doRead(self) -> Any:
        """Read once, as Twisted's does with two calls more."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def write(self, data: bytes) -> None:
        """Send, or keep what cannot be sent now.

        An error shows when the reactor next finds the socket ready.
        """
        waiting = self.dataBuffer or self._tempDataBuffer
        open_ = self.connected and not self._writeDisconnected and not self._aborting
        # TLS begun with startTLS writes elsewhere; a pull producer is asked for more only by the reactor's next turn.
        plain = not self.TLS and (self.producer is None or self.streamingProducer)
        if data and open_ and plain and not waiting:
            size = len(data)
            try:
                sent = self.socket.send(data if size <= self.SEND_LIMIT else memoryview(data)[: self.SEND_LIMIT])
            except OSError:
                sent = 0
            if sent == size:
                return
            if sent:
                data = data[sent:]
        super().write(data)

    def connectionLost(self, reason: Failure) -> None:
        """Close; after an abort, with a reset that reaches the peer even if a forked child has the socket too."""
        if reason.check(ConnectionAborted):
            disconnect(self.socket.fileno())
        super().connectionLost(reason)

    def unsent(self) -> int:
        """Count the bytes that the peer has not acknowledged.

        These are the bytes that wait here and the bytes that the kernel holds.
        """
        return len(self.dataBuffer) - self.offset + self._tempDataLen + send_queue(self.socket.fileno())


def missing(kind: type[tcp.Server]) -> list[str]:
    """List the attributes of PRIVATE that a transport class does not have."""
    probe = kind.__new__(kind)
    nobody: Any = object()  # a reactor, which the constructor only remembers
    abstract.FileDescriptor.__init__(probe, nobody)
    return [name for name in PRIVATE if not hasattr(probe, name)]


def best_transport(kind: type[tcp.Server] = tcp.Server, prompt: type[tcp.Server] = PromptTransport) -> type[tcp.Server]:
    """Choose the transport for new connections.

    It is ``kind``, Twisted's own, where ``prompt`` cannot be built on it.
    """
    return kind if missing(kind) else prompt

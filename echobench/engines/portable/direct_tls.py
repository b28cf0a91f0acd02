"""A TLS transport that lets OpenSSL read and write the socket itself while messages come one by one.

Between Twisted's transport and OpenSSL, each byte is copied from the socket into an object, from there into OpenSSL's
memory, and back the same way. With one message in a read, and one record in a message, that costs more than it saves:
here OpenSSL has the descriptor, and an echo is one call to read it and one to write it.

Several messages in a read are cheaper together, in memory (prompt_tls.py). So is whatever is not plain traffic: a peer
that does not read, the goodbye, a failure. Then this goes back to memory first, and Twisted's code does the rest.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from .openssl import BulkCalls
from .prompt_tls import PromptTLSTransport

ALONE: Final = 4  # reads in a row with one record in each, after which OpenSSL has the socket for the first time
LONGEST: Final = 256  # such reads, at most, after it was in vain
LOOK: Final = 16  # records, after each of which it is asked for another one that would have come with it
PRIVATE: Final = ("_tempDataBuffer",)
"""Private attributes of Twisted's TCP transports that are used here."""


class DirectTLSTransport(PromptTLSTransport):
    """Reads and writes by OpenSSL's own calls at the socket, as long as each read brings one record."""

    _direct: BulkCalls | None = None
    """What reads and writes the socket; None while the transport below does."""
    _alone = 0
    """Reads in a row that brought one record."""
    _needed = ALONE
    """How many of them it takes."""
    _until_look = LOOK
    _between = True
    """Whether the last record that was begun has come whole."""

    def served(self, records: int) -> None:
        """Let OpenSSL have the socket if messages come one by one, and nothing waits anywhere."""
        self._alone = self._alone + 1 if records == 1 else 0
        if self._alone < self._needed or self._bulk is None or self._appSendBuffer or self._lostTLSConnection:
            return
        below = self.transport
        if not isinstance(below, tcp.Connection) or not all(hasattr(below, each) for each in PRIVATE):
            return
        if below.TLS or below.dataBuffer or below._tempDataBuffer or self.disconnecting or not below.connected:
            return
        if self._bulk.attach(below.fileno()):
            self._direct, self._between, self._until_look = self._bulk, True, LOOK
            below.doRead = self._read  # type: ignore[method-assign]

    def write(self, data: bytes) -> None:
        """Encrypt and send; what the socket does not take now goes the way of all transports."""
        direct = self._direct
        if direct is not None and data:
            sent = direct.write(data)
            if sent == len(data):
                return
            self._back_to_memory()
            data = data[sent:]
        super().write(data)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """End. The socket is closed already, and nobody may use its number."""
        self._back_to_memory()
        super().connectionLost(reason)

    def _read(self) -> Any:
        """Read one record, in the place of the transport's ``doRead``, and return what that would return."""
        direct = self._direct
        assert direct is not None, "it takes the transport's place only while OpenSSL has the socket"
        try:
            data = direct.read()
        except SSL.Error as error:
            return self._not_read(error)
        self._between = True
        self.wrappedProtocol.dataReceived(data)
        self._until_look -= 1
        if self._until_look or self._direct is not direct:
            return None
        self._until_look = LOOK
        try:
            data = direct.read()
        except SSL.Error as error:
            return self._not_read(error)
        self._back_to_memory()  # they come together
        self._needed = min(2 * self._needed, LONGEST)
        self.wrappedProtocol.dataReceived(data)
        return None

    def _not_read(self, error: SSL.Error) -> Any:
        """Do what is to be done when a read has brought nothing for the protocol."""
        if isinstance(error, SSL.WantReadError):  # half a record, or nothing, or what is for OpenSSL itself
            self._between = False
        elif isinstance(error, SSL.WantWriteError):  # it has to answer, and the socket takes nothing
            self._back_to_memory()
            self._flushReceiveBIO()
        elif isinstance(error, SSL.ZeroReturnError):
            self._over(None)
        elif isinstance(error, SSL.SysCallError):  # pyOpenSSL's way to say the end of the stream: (-1, a sentence)
            self._back_to_memory()
            return CONNECTION_DONE if error.args[0] == -1 else CONNECTION_LOST
        else:
            self._over(Failure(error))
        return None

    def _over(self, failure: Failure | None) -> None:
        self._back_to_memory()
        super()._over(failure)

    def _shutdownTLS(self) -> None:
        self._back_to_memory()
        super()._shutdownTLS()

    def _flushSendBIO(self) -> None:
        self._back_to_memory()
        super()._flushSendBIO()

    def _back_to_memory(self) -> None:
        """Have Twisted's transport read and write again."""
        direct, self._direct, self._alone = self._direct, None, 0
        if direct is not None:
            del self.transport.doRead
            if not self._between:
                self._records.lose_track()
            direct.detach()

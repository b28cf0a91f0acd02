"""OpenSSL's calls for application data, without what lies between.

pyOpenSSL's methods allocate and copy for each call, and look for errors that only a handshake can have. With short
messages that costs more than OpenSSL's own work. Here are the same functions of the same library on the same
connection, with buffers that all connections share. Whatever is not plain success goes to pyOpenSSL, which knows what
it means.

There are two ways. What came can be put into memory, and what is to be sent taken from there (*memory BIOs*), as
Twisted does. Or OpenSSL reads and writes the socket itself (:meth:`BulkCalls.attach`), which saves the copies.

Handshakes, the goodbye, and everything else stay pyOpenSSL's. Its names with an underscore are private: without them,
or without the functions in cryptography's bindings, :func:`bulk_calls` returns None.
"""

from __future__ import annotations

from typing import Any, Final, cast

from cryptography.hazmat.bindings.openssl.binding import Binding

from .records import LARGEST

ROOM: Final = 8 * LARGEST
"""Bytes of each shared buffer: more than one read of a transport (64 KiB) and a record begun before it can hold."""
PRIVATE: Final = ("_ssl", "_into_ssl", "_from_ssl", "_raise_ssl_error")
"""pyOpenSSL's private attributes of a connection that are used here."""

_FUNCTIONS: Final = ("BIO_write", "BIO_read", "SSL_read", "SSL_write", "ERR_clear_error")
_OF_SOCKETS: Final = ("SSL_set_fd", "SSL_set_bio", "BIO_new", "BIO_s_mem", "BIO_free", "BIO_get_mem_data")
_lib: Any = Binding.lib
_ffi: Any = Binding.ffi
_put, _take, _read, _write, _clear_errors = (cast(Any, getattr(_lib, each, None)) for each in _FUNCTIONS)
_allocate = _ffi.new_allocator(should_clear_after_alloc=False)  # a server without TLS never touches this memory
_plain = _allocate("char[]", ROOM)
_sealed = _allocate("char[]", ROOM)
_plain_view = _ffi.buffer(_plain)
_sealed_view = _ffi.buffer(_sealed)
_start = _ffi.new("char **")
"""Where BIO_get_mem_data says where the bytes are, which nobody asks."""


def bulk_calls(connection: Any) -> BulkCalls | None:
    """Return the calls for an ``OpenSSL.SSL.Connection``; None if this pyOpenSSL has not what they need."""
    if all(hasattr(connection, each) for each in PRIVATE) and all(hasattr(_lib, each) for each in _FUNCTIONS):
        return BulkCalls(connection)
    return None


class BulkCalls:
    """Reads and writes application data of a ``SSL.Connection`` on memory BIOs, whose hands are shaken."""

    __slots__ = ("_connection", "_from_ssl", "_into_ssl", "_raise", "_ssl")

    def __init__(self, connection: Any) -> None:
        self._connection, self._ssl = connection, connection._ssl
        self._into_ssl, self._from_ssl = connection._into_ssl, connection._from_ssl
        self._raise = connection._raise_ssl_error

    def attach(self, descriptor: int) -> bool:
        """Have OpenSSL read and write a connected, non-blocking socket itself; say whether it does.

        It does not while something is still in the memory between.
        """
        if not all(hasattr(_lib, each) for each in _OF_SOCKETS):
            return False
        if any(_lib.BIO_get_mem_data(each, _start) > 0 for each in (self._into_ssl, self._from_ssl)):
            return False
        if _lib.SSL_set_fd(self._ssl, descriptor) != 1:
            _clear_errors()
            return False
        self._use(None, None)  # OpenSSL has freed the two
        return True

    def detach(self) -> None:
        """Go back to memory; what OpenSSL has of half a record, either way, it keeps."""
        into, out = (_lib.BIO_new(_lib.BIO_s_mem()) for _ in range(2))
        if _ffi.NULL in (into, out):
            _lib.BIO_free(into)  # nothing, if that is the one which is missing
            _lib.BIO_free(out)
            raise MemoryError("OpenSSL had no memory for a connection's buffers")
        _lib.SSL_set_bio(self._ssl, into, out)
        self._use(into, out)

    def read(self) -> bytes:
        """Read one record, LARGEST bytes at most, from the socket. Raises as pyOpenSSL's ``recv`` does."""
        ssl = self._ssl
        if (got := _read(ssl, _plain, LARGEST)) <= 0:
            self._raise(ssl, got)
            return b""
        data: bytes = _plain_view[:got]
        return data

    def write(self, plain: bytes) -> int:
        """Encrypt and send; return how many bytes.

        They are fewer than all if the socket takes no more, or OpenSSL has to wait for the peer first, or cannot go on.
        Of the rest OpenSSL may have encrypted a record already, which is its next to send.
        """
        ssl, size = self._ssl, len(plain)
        done = int(_write(ssl, plain, size))
        return done if done == size else self._write_on(plain, done)

    def open(self, sealed: bytes, records: int, pieces: list[bytes]) -> None:
        """Give OpenSSL what came, in which so many records end, and append what they hold to ``pieces``.

        That is one piece, unless they hold more than ROOM. Raises as pyOpenSSL's ``recv`` does if a record holds
        something else; what came before it is in ``pieces`` then.
        """
        # A memory BIO takes everything, or fails for want of memory (BIO_s_mem(3)).
        if _put(self._into_ssl, sealed, len(sealed)) != len(sealed):
            raise MemoryError("OpenSSL had no memory for what came")
        ssl, at = self._ssl, 0
        for _ in range(records):
            got = _read(ssl, _plain + at if at else _plain, LARGEST)
            if got <= 0:
                if at:
                    pieces.append(_plain_view[:at])
                self._raise(ssl, got)
                return
            at += got
            if at > ROOM - LARGEST:
                pieces.append(_plain_view[:at])
                at = 0
        if at:
            pieces.append(_plain_view[:at])

    def seal(self, plain: bytes) -> tuple[int, bytes]:
        """Encrypt into memory; return how many bytes, and the first ROOM bytes to be sent (:meth:`rest` has more).

        They are fewer than all if OpenSSL has to wait for the peer first, or cannot go on.
        """
        return self.write(plain), self.rest()

    def rest(self) -> bytes:
        """Return what is to be sent to the peer, ROOM bytes at most; none if there is nothing."""
        got = _take(self._from_ssl, _sealed, ROOM)
        return _sealed_view[:got] if got > 0 else b""

    def _write_on(self, plain: bytes, done: int) -> int:
        """Write the rest: OpenSSL takes a record at a time (SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets)."""
        size = len(plain)
        if done > 0:
            whole, more = _ffi.from_buffer(plain), done
            while more > 0 and done < size:
                more = _write(self._ssl, whole + done, size - done)
                done += max(0, more)
        if done < size:
            _clear_errors()  # whoever tries again finds the same
        return max(0, done)

    def _use(self, into: Any, out: Any) -> None:
        """Have pyOpenSSL know where it reads and writes; nowhere, if OpenSSL has the socket."""
        self._into_ssl = self._connection._into_ssl = into
        self._from_ssl = self._connection._from_ssl = out

"""OpenSSL's four calls for application data, without what lies between.

pyOpenSSL's methods allocate and copy for each call, and look for errors that only a handshake can have. With short
messages that costs more than OpenSSL's own work. Here are the same functions of the same library on the same
connection, with buffers that all connections share. Whatever is not plain success goes to pyOpenSSL, which knows what
it means.

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
_lib: Any = Binding.lib
_ffi: Any = Binding.ffi
_put, _take, _read, _write, _clear_errors = (cast(Any, getattr(_lib, each, None)) for each in _FUNCTIONS)
_allocate = _ffi.new_allocator(should_clear_after_alloc=False)  # a server without TLS never touches this memory
_plain = _allocate("char[]", ROOM)
_sealed = _allocate("char[]", ROOM)
_plain_view = _ffi.buffer(_plain)
_sealed_view = _ffi.buffer(_sealed)


def bulk_calls(connection: Any) -> BulkCalls | None:
    """Return the calls for an ``OpenSSL.SSL.Connection``; None if this pyOpenSSL has not what they need."""
    if all(hasattr(connection, each) for each in PRIVATE) and all(hasattr(_lib, each) for each in _FUNCTIONS):
        return BulkCalls(connection)
    return None


class BulkCalls:
    """Reads and writes application data of a ``SSL.Connection`` on memory BIOs, whose hands are shaken."""

    __slots__ = ("_from_ssl", "_into_ssl", "_raise", "_ssl")

    def __init__(self, connection: Any) -> None:
        self._ssl, self._into_ssl, self._from_ssl = connection._ssl, connection._into_ssl, connection._from_ssl
        self._raise = connection._raise_ssl_error

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
        """Encrypt; return how many bytes, and the first ROOM bytes of what is to be sent (:meth:`rest` has more).

        They are fewer than all if OpenSSL has to wait for the peer first, or cannot go on.
        """
        ssl, size = self._ssl, len(plain)
        done = _write(ssl, plain, size)
        if 0 < done < size:  # it takes a record at a time (SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets)
            whole, more = _ffi.from_buffer(plain), done
            while more > 0 and done < size:
                more = _write(ssl, whole + done, size - done)
                done += max(0, more)
        if done < size:
            _clear_errors()  # whoever tries again finds the same
        return max(0, done), self.rest()

    def rest(self) -> bytes:
        """Return what is to be sent to the peer, ROOM bytes at most; none if there is nothing."""
        got = _take(self._from_ssl, _sealed, ROOM)
        return _sealed_view[:got] if got > 0 else b""

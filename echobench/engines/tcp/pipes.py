"""Echoes large messages without touching them: splice(2) moves them through a pipe, inside the kernel.

A pipe holds references to pages and not copies, and so does a socket that is spliced into: the bytes of a message are
copied by the sender and the receiver, but not here. For small messages the two calls cost more than the copies.

One pipe serves all connections. Whatever the peer does not take at once is read out of it again, and held as ever; so
the pipe is empty between two connections, and back-pressure stays as it is.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Final

F_SETPIPE_SZ: Final = 1031  # linux/fcntl.h, F_LINUX_SPECIFIC_BASE + 7; the module fcntl has it from Python 3.10 on
ROOM: Final = 1 << 20
"""Bytes to ask for: pipe-max-size, what anybody may have (pipe(7)). A place in a pipe is for a page, and a socket's
fragments are often smaller, so that 64 KiB do not fit into 16 places."""

SPLICED: Final = 6 << 10  # bytes in a read, lately, from which on it is cheaper not to touch them
MOVE: Final = 0x01 | 0x02  # linux/splice.h: SPLICE_F_MOVE, SPLICE_F_NONBLOCK

splice: Any = getattr(os, "splice", None)  # Linux


class Pipe:
    """The way through the kernel; it is made when it is first needed."""

    def __init__(self) -> None:
        self.useless = splice is None
        """Whether this system has no such way."""
        self._ends: tuple[int, int] | None = None

    def echo(self, fd: int, most: int) -> tuple[int, bytes] | None:
        """Read up to ``most`` bytes from a socket, and send them back.

        Returns how many came, and those that the socket did not take. None means that nothing was read, and that an
        ordinary read has to tell why: there is an end of file, an error, urgent data ahead (``tcp_read_sock`` stops
        there, net/ipv4/tcp.c), nothing at all, or no pipe. Raises OSError of the sending; then what was read is gone.
        """
        if (ends := self.ends()) is None:
            return None
        out, into = ends
        try:
            came = splice(fd, into, most, None, None, MOVE)
        except BlockingIOError:
            return None
        except OSError:
            self.close()  # in case that it was a signal's handler, after something had come
            return None
        except BaseException:
            self.close()
            raise
        if not came:
            return None
        try:
            left = came - splice(out, fd, came, None, None, MOVE)
        except BlockingIOError:
            left = came
        except BaseException:
            self.close()  # with all that is in it
            raise
        return came, self.take_out(out, left) if left else b""

    def ends(self) -> tuple[int, int] | None:
        """Return the end to read from and the end to write to; None if no pipe can be had."""
        return self._ends or self._open()

    def take_out(self, out: int, left: int) -> bytes:
        """Take so many bytes out of an end of the pipe, all that are left in it.

        If that fails, nobody else's bytes may follow them.
        """
        parts = []
        try:
            while left:
                parts.append(os.read(out, left))
                left -= len(parts[-1])
            return b"".join(parts)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; the next :meth:`echo` makes another one."""
        if self._ends is not None:
            ends, self._ends = self._ends, None
            for end in ends:
                os.close(end)

    def _open(self) -> tuple[int, int] | None:
        if self.useless:
            return None
        try:
            self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # no descriptor is left: the next one will try again
            return None
        import fcntl

        with contextlib.suppress(OSError):  # pipe-user-pages-soft: it works with fewer places
            fcntl.fcntl(self._ends[1], F_SETPIPE_SZ, ROOM)
        return self._ends

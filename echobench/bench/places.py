"""Where a result may be stored, and how each kind of place is written so that nothing in it is lost.

A file is replaced whole or not at all, and keeps its owner and mode. Standard output and other open descriptors, pipes
and devices are written to as they are.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

STANDARD_OUTPUT: Final = 1
DESCRIPTORS: Final = {"-": 1, "/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
LINE: Final = 1 << 16  # bytes of a first line that are looked at: a file without lines may have no end
LINKS: Final = 40  # symbolic links that Linux follows, path_resolution(7)


class Place(Protocol):
    """A place for results; ``name`` is what a sentence calls it."""

    name: str

    def write(self, data: bytes) -> None:
        """Store the data in place of what was there. Raises OSError."""

    def append(self, make: Callable[[str], bytes]) -> None:
        """Add what ``make`` makes of the first line that is there ("" if none). Raises OSError.

        No other process can write between its look and its addition.
        """


def find(path: str) -> Place:
    """Find the place that a path leads to, and try it. Raises OSError if it cannot be written."""
    number = descriptor(path)
    if number is not None:
        return Descriptor(number, path)
    place = Path(path).resolve()
    if place.is_dir():
        raise IsADirectoryError(21, "it is a directory")
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(13, "it may not be written")
    if place.exists() and not place.is_file():
        return Special(place)
    return File(place)


def descriptor(path: str) -> int | None:
    """Give the open descriptor that a path names, by itself or through symbolic links.

    Opened by its name, a redirected standard output would begin at 0 again, and be truncated: what a shell's ``>>``
    was to keep would be gone (proc_pid_fd(5)).
    """
    for _ in range(LINKS):
        if path in DESCRIPTORS:
            return DESCRIPTORS[path]
        if found := re.fullmatch(r"/(?:dev/fd|proc/self/fd)/([0-9]{1,9})", path):
            return int(found[1])
        if path.startswith("/proc/") or not os.path.islink(path):
            return None
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return None


class Descriptor:
    """Standard output, or another descriptor that is open already."""

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, {1: "standard output", 2: "standard error"}.get(number, name)
        os.fstat(number)
        if not _writable(number):
            raise OSError(9, "it is not open for writing")

    def write(self, data: bytes) -> None:
        """Write behind what was written before."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        _write_all(self.number, data)

    def append(self, make: Callable[[str], bytes]) -> None:
        """Write as to an empty file: what is before it cannot be read here."""
        self.write(make(""))


class Special:
    """A pipe with a name, or a device."""

    def __init__(self, place: Path) -> None:
        self._place, self.name = place, str(place)

    def write(self, data: bytes) -> None:
        """Open it, which waits for a pipe's reader, and write."""
        number = os.open(self._place, os.O_WRONLY)
        try:
            _write_all(number, data)
        finally:
            os.close(number)

    def append(self, make: Callable[[str], bytes]) -> None:
        """Write as to an empty file."""
        self.write(make(""))


class File:
    """A file that exists, or will."""

    def __init__(self, place: Path) -> None:
        self._place, self.name = place, str(place)
        try:
            beside = self._beside()
            beside.open("x").close()
            beside.unlink()
        except PermissionError:
            if not place.exists():  # an existing one can be written in its place
                raise

    def write(self, data: bytes) -> None:
        """Replace the file by a whole one, which is written beside it first."""
        with contextlib.suppress(_CannotReplaceError):
            self._replace(data)
            return
        with self._place.open("r+b") as file:  # not whole or not at all, but everything else would be worse
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def _replace(self, data: bytes) -> None:
        """Put a new file in the old one's place. Raises OSError, and _CannotReplaceError if it would be another's."""
        beside = self._beside()
        before = self._place.stat() if self._place.exists() else None
        if before is not None and before.st_nlink > 1:
            raise _CannotReplaceError  # its other names would keep the old content
        try:
            with beside.open("xb") as file:
                if before is not None:
                    _take_over(file.fileno(), before)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._place)
        except PermissionError as error:
            beside.unlink(missing_ok=True)
            if before is None:
                raise
            raise _CannotReplaceError from error
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def append(self, make: Callable[[str], bytes]) -> None:
        """Add to the end, one process at a time."""
        with self._place.open("a+b") as file, _locked(file.fileno()):
            file.seek(0)
            first = file.readline(LINE).decode(errors="replace").rstrip("\r\n")
            data = make(first)
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # somebody was killed while writing
                    data = b"\n" + data
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def first_line(self) -> str:
        """Read the first line that is there; "" if there is none."""
        if not self._place.is_file():
            return ""
        with self._place.open("rb") as file:
            return file.readline(LINE).decode(errors="replace").rstrip("\r\n")

    def _beside(self) -> Path:
        return self._place.with_name(f".{self._place.name[:200]}.{os.getpid()}.tmp")


class _CannotReplaceError(Exception):
    """A file can be written, but not be replaced by a new one without changing what it is."""


def _take_over(number: int, before: os.stat_result) -> None:
    """Give a new file the owner and the mode of the old one. Raises PermissionError."""
    if hasattr(os, "fchown"):
        now = os.fstat(number)
        if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
            os.fchown(number, before.st_uid, before.st_gid)
        os.fchmod(number, stat.S_IMODE(before.st_mode))


@contextlib.contextmanager
def _locked(number: int) -> Iterator[None]:
    """Keep other processes that do the same out, where there are such locks (POSIX); closing the file ends it."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fcntl.flock(number, fcntl.LOCK_EX)
    yield


def _writable(number: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _write_all(number: int, data: bytes) -> None:
    """Write everything, also where another program has made the descriptor non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(number, view) :]
        except BlockingIOError:
            select.select([], [number], [])

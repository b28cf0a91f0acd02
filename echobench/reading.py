"""Reads a whole file, and nothing that is none: a pipe may wait for ever, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat


def contents(path: str, most: int) -> bytes:
    """Return what is in a regular file of at most so many bytes.

    Raises OSError, whose ``strerror`` also says if it is no file, or a larger one.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is a directory, a pipe or a device, not a file", path)
    # Not to wait either for the writer of a pipe that has taken the file's place in the meantime.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", path)
    return data

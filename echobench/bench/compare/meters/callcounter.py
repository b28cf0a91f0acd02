"""Counts the system calls of a tree of processes (Linux), without a tracer.

At the start of every system call the kernel passes a tracepoint, ``raw_syscalls:sys_enter``. There, perf_event_open(2)
adds one to our counter. While such a counter is open, every system call of the machine takes a little longer, so none
is open while something else is measured.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .... import kernel
from ....kernel import calls
from . import proctree

# linux/perf_event.h, struct perf_event_attr up to PERF_ATTR_SIZE_VER0, which every kernel takes: type, size, config,
# sample_period, sample_type, read_format, the flags, wakeup_events, bp_type, config1.
ATTR: Final = struct.Struct("=IIQQQQQIIQ")
PERF_TYPE_TRACEPOINT: Final = 2
INHERIT: Final = 1 << 1  # the second of the flags: also count in what is forked and cloned from now on
PERF_FLAG_FD_CLOEXEC: Final = ctypes.c_ulong(1 << 3)

TRACEFS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")  # Documentation/trace/ftrace.rst
TRACEPOINT: Final = "events/raw_syscalls/sys_enter/id"
ATTEMPTS: Final = 5  # to open a counter for all threads while none starts


def missing() -> str | None:
    """Say why system calls cannot be counted here; None if they can."""
    if why := kernel.missing():
        return why
    try:
        os.close(_opener()(0))  # 0: ourselves
    except OSError as error:
        return _sentence(error)
    return None


class CallCounter:
    """Counts the system calls of all threads below a keeper, from now on.

    Threads that these start later count too. Raises OSError if it cannot count; the message says why.
    """

    def __init__(self, keeper: int) -> None:
        opened = _opener()
        self._files: list[int] = []
        for _ in range(ATTEMPTS):
            there = proctree.threads(keeper)
            try:
                for thread in there:
                    self._open(opened, thread)
            except OSError as error:
                self.close()
                raise OSError(_sentence(error)) from None
            # A thread that starts meanwhile is counted with its parent if the parent's counter was open, else not at
            # all. Nobody can tell which, so start again.
            if set(proctree.threads(keeper)) <= set(there) and self._files:
                return
            self.close()
        raise OSError("its threads start and end faster than they can be found")

    def _open(self, opened: Callable[[int], int], thread: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            self._files.append(opened(thread))

    def total(self) -> int:
        """Give the number of calls so far.

        Threads that have ended are included: their parents' counters have their counts (inherit).
        """
        return sum(int.from_bytes(os.read(file, 8), "little") for file in self._files)

    def close(self) -> None:
        """Stop counting."""
        while self._files:
            os.close(self._files.pop())


def attributes(tracepoint: int) -> bytes:
    """Give the perf_event_attr that counts how often a tracepoint is passed.

    In a thread and in its children.
    """
    return ATTR.pack(PERF_TYPE_TRACEPOINT, ATTR.size, tracepoint, 0, 0, 0, INHERIT, 0, 0, 0)


def _opener() -> Callable[[int], int]:
    """Give the function that opens a counter for a thread.

    Both raise OSError.
    """
    # exclude_kernel stays clear: with it, only tracepoints in user space would count (perf_tp_event_match in
    # kernel/events/core.c), and sys_enter is in the kernel.
    attr = ctypes.create_string_buffer(attributes(_tracepoint()), ATTR.size)
    perf_event_open = calls.system_call("perf_event_open")

    def opened(thread: int) -> int:
        file = perf_event_open(attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC)  # on any CPU, in no group
        if file < 0:
            raise calls.failure("perf_event_open")
        return file

    return opened


def _tracepoint() -> int:
    """Read the kernel's number of the tracepoint. Raises OSError."""
    for place in TRACEFS:
        try:
            return int((Path(place) / TRACEPOINT).read_text())
        except PermissionError:
            raise OSError(f"{place} cannot be read: usually only root may read it") from None
        except (FileNotFoundError, NotADirectoryError):
            if (Path(place) / "events").exists():
                raise OSError("this kernel has no tracepoint raw_syscalls:sys_enter") from None
    raise OSError(f"tracefs is not mounted at {TRACEFS[0]}, so the number of the tracepoint is not known")


def _sentence(error: OSError) -> str:
    """Say what an error means here."""
    if error.errno in (errno.EACCES, errno.EPERM):
        # perf_event_open(2): from 2 on, which is the default, measurements of the kernel are forbidden to others.
        return "the kernel allows it only with CAP_PERFMON, or if /proc/sys/kernel/perf_event_paranoid is 1 or less"
    if error.errno in (errno.ENOSYS, errno.ENOENT):
        return "this kernel was built without perf_event_open(2) for tracepoints"
    return str(error.strerror or error)

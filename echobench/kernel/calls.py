"""System calls by their numbers, for those that Python has no function for.

Some C libraries have no proper function either: musl's ``sendmmsg`` is a loop over ``sendmsg``.

A call must not block, because it holds the interpreter's lock. Releasing the lock and taking it again for every batch
would cost more than the call itself.

A call takes ints, which must fit into 32 bits, and ctypes objects for wider values. Make such an object once and keep
it: making one costs nearly as much as the rest of passing an argument.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from collections.abc import Callable
from typing import Final

# asm/unistd_64.h for x86-64, asm-generic/unistd.h for the newer ones, powerpc's syscall.tbl.
_GENERIC = {"perf_event_open": 241, "recvmmsg": 243, "sendmmsg": 269}
_NUMBERS = {
    "x86_64": {"perf_event_open": 298, "recvmmsg": 299, "sendmmsg": 307},
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
    "ppc64le": {"perf_event_open": 319, "recvmmsg": 343, "sendmmsg": 349},
}
_EVERYWHERE = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}  # asm-generic/unistd.h

MSG_DONTWAIT: Final = 0x40  # linux/socket.h; a flag of calls on sockets, and of io_uring's requests for them


def system_call(name: str) -> Callable[..., int]:
    """Return a function that makes a system call.

    The function returns the call's result; after -1, :func:`failure` says why.

    Raises OSError where its number is not known.
    """
    number = _EVERYWHERE.get(name) or _NUMBERS.get(platform.machine(), {}).get(name)
    if number is None:
        raise OSError(f"the number of the system call {name} is not known for {platform.machine()} machines")
    library = ctypes.PyDLL(None, use_errno=True)
    function = library["syscall"]  # a subscript makes a new object; the attribute would be shared
    function.restype = ctypes.c_long
    return functools.partial(function, ctypes.c_long(number))


def failure(name: str) -> OSError:
    """Make the exception for the system call that has just failed."""
    error = ctypes.get_errno()
    return OSError(error, f"{name}: {os.strerror(error)}")

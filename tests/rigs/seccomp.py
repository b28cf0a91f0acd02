"""Seccomp filters that deny system calls, as containers do; to be installed in a child."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Callable, Sequence

import pytest

_NUMBERS = {  # asm/unistd_64.h, asm-generic/unistd.h
    "x86_64": {"accept": 43, "accept4": 288},
    "aarch64": {"accept": 202, "accept4": 242},
}
_EVERYWHERE = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}


def refusing(calls: Sequence[str], error: str) -> Callable[[], None]:
    """Return a function that installs a filter (seccomp(2)) which lets these calls fail with this error."""
    known = {**_EVERYWHERE, **_NUMBERS.get(platform.machine(), {})}
    if missing := [call for call in calls if call not in known]:
        pytest.skip(f"the number of {missing[0]} is not known here")
    numbers = [known[call] for call in calls]
    refuse = 0x00050000 | getattr(errno, error)
    instructions = [(0x20, 0, 0, 0)]  # load the number of the call
    # If it is equal: jump over the comparisons that are left, and over what allows it.
    instructions += [(0x15, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    instructions += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, refuse)]  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)

    def install() -> None:
        code = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
        libc = ctypes.CDLL(None, use_errno=True)
        for arguments in ((38, 1, 0, 0, 0), (22, 2, ctypes.c_char_p(header))):  # NO_NEW_PRIVS; SECCOMP, its filter mode
            if libc.prctl(*arguments) != 0:
                raise OSError(ctypes.get_errno(), "prctl")

    return install

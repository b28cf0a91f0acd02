"""Chooses one of a host's addresses: the first that can be reached.

As in RFC 8305 (happy eyeballs): the addresses are tried in the order of the system's resolver (RFC 6724), each a
quarter of a second after the one before, or as soon as that one failed. Over TCP an address is reached when it accepts
a connection. Over UDP one can only ask for an echo: an address that is not heard from counts as the last resort, and
one that refuses or has no route as none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ..run.plan import Plan
from . import LoadError

STEP: Final = 0.25  # seconds (RFC 8305, section 5)
PATIENCE: Final = {"tcp": 5.0, "tls": 5.0, "udp": 1.0}  # seconds for all addresses together
LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # winsock2.h has shorts
QUESTION: Final = b"echobench: do you echo?"

Address = tuple[str, int]


@attrs.define
class _Attempt:
    address: Address
    sock: socket.socket | None = None
    failed: str = ""


def choose(plan: Plan, addresses: Sequence[Address]) -> tuple[Address, str]:
    """Return the address to use, and a sentence if it is not the first.

    With one address, nothing is tried. Raises LoadError with what each address said if none can be reached.
    """
    if len(addresses) == 1:
        return addresses[0], ""
    tried = [_Attempt(each) for each in addresses]
    with contextlib.ExitStack() as stack:
        found = _first(plan, tried, stack)
    said = "; ".join(f"{each.address[0]} {each.failed}" for each in tried if each.failed)
    if found is None:
        kind = "UDP" if plan.transport == "udp" else "TCP"
        raise LoadError(
            f"{plan.host}, {kind} port {addresses[0][1]}, cannot be reached at any of its addresses ({said}): "
            "check that the server is running there, and the route"
        )
    if found is tried[0]:
        return found.address, ""
    before = said or f"{tried[0].address[0]} did not answer"
    return found.address, f"{plan.host}: {before}, so {found.address[0]} is used"


def _first(plan: Plan, tried: list[_Attempt], stack: contextlib.ExitStack) -> _Attempt | None:
    """Return the first attempt that succeeds; over UDP, else the first that has not failed."""
    selector = stack.enter_context(selectors.DefaultSelector())
    waiting = iter(tried)
    end = time.monotonic() + PATIENCE[plan.transport]
    following = 0.0
    left = True
    while (now := time.monotonic()) < end:
        if left and now >= following:
            following = now + STEP
            if (attempt := next(waiting, None)) is None:
                left = False
            elif not _begin(plan, attempt, selector, stack):
                following = 0.0
                continue
        if not left and all(each.failed for each in tried):
            return None
        for key, _ in selector.select(max(0.0, (min(following, end) if left else end) - now)):
            selector.unregister(key.fileobj)
            ended: _Attempt = key.data
            if _succeeded(plan, ended):
                return ended
            following = 0.0
    silent = [each for each in tried if not each.failed]
    if plan.transport == "udp":
        return silent[0] if silent else None
    for each in silent:
        each.failed = f"did not answer within {PATIENCE[plan.transport]:g} s"
    return None


def _begin(plan: Plan, attempt: _Attempt, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> bool:
    """Begin an attempt; False if it failed at once."""
    udp = plan.transport == "udp"
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    try:
        family, _, _, _, where = socket.getaddrinfo(*attempt.address, type=kind, flags=socket.AI_NUMERICHOST)[0]
        sock = attempt.sock = stack.enter_context(socket.socket(family, kind))
        sock.setblocking(False)
        if plan.sources:
            sock.bind(_numeric(plan.sources[0], family))
        if udp:
            sock.connect(where)
            sock.send(QUESTION)
        else:
            # Closed with a reset, which leaves no TIME_WAIT (socket(7), SO_LINGER).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            code = sock.connect_ex(where)
            if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)):
                raise OSError(code, os.strerror(code))
        selector.register(sock, selectors.EVENT_READ if udp else selectors.EVENT_WRITE, attempt)
    except OSError as error:
        attempt.failed = _why(error)
        return False
    return True


def _numeric(address: str, family: int) -> Any:
    return socket.getaddrinfo(address, 0, family, flags=socket.AI_NUMERICHOST)[0][4]


def _succeeded(plan: Plan, attempt: _Attempt) -> bool:
    assert attempt.sock is not None
    try:
        if plan.transport == "udp":
            attempt.sock.recv(1 << 16)
        elif code := attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
    except OSError as error:
        attempt.failed = _why(error)
        return False
    return True


def _why(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "refuses"
    return f"cannot be reached: {error.strerror or error}"

"""What the tests of io_uring, and of the engines that stand on it or on a poller of their own, have in common."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from echobench.engines.tcp.ring_trial import try_ring
from echobench.kernel import missing
from echobench.kernel import ring as k
from echobench.kernel.ring import Ring

PLAIN = k.CQE_F_BUFFER | k.CQE_F_MORE


def _works() -> bool:
    if missing() is not None:
        return False
    try:
        Ring(1, 1).close()
    except OSError:
        return False
    return True


needs_ring = pytest.mark.skipif(not _works(), reason="this kernel gives no io_uring")
needs_completion = pytest.mark.skipif(
    not _works() or try_ring() is not None, reason="this kernel has no io_uring like that of Linux 6.17"
)


def kernel_objects() -> list[str]:
    """The rings and pollers that this process has open, by what their descriptors lead to."""
    found = []
    for name in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
        if target in ("anon_inode:[io_uring]", "anon_inode:[eventpoll]"):
            found.append(target)
    return sorted(found)


def mapped_rings() -> int:
    """How many pieces of rings are mapped into this process."""
    with open("/proc/self/maps") as file:
        return sum("io_uring" in line for line in file)


@pytest.fixture
def any_request(monkeypatch):
    """Let requests be made that may be completed elsewhere, or make no sense."""
    monkeypatch.setattr(k, "stays_here", lambda *_: True)


@pytest.fixture
def ring():
    """Make rings, and close them after the test."""
    made = []

    def make(entries=4, completions=8):
        made.append(Ring(entries, completions))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def pair():
    """Two ends of a connection; the first does not block."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(5)
        yield ours, theirs


def take(ring):
    """The completions that are there: tuples of user_data, result, flags and buffer."""
    found = []
    for place in range(ring.ready()):
        at = (ring.index[ring.chead] + place) & ring.cmask
        who = ring.kind[at] << 32 | ring.who[at]
        found.append((who, ring.result[at], ring.cqe_flags[at], ring.buffer[at]))
    ring.index[ring.chead] = (ring.index[ring.chead] + len(found)) & k.U32
    return found


def receive(ring, sock, who=1):
    ring.push(k.OP_RECV, sock.fileno(), who, sqe_flags=k.SQE_BUFFER_SELECT, ioprio=k.RECV_MULTISHOT)
    ring.enter()

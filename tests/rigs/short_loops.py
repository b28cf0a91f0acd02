"""Connections that are pairs of sockets, and what a short loop is given with them."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time

from echobench.counters import Counters

END = 1 << 62
MS = 1_000_000
MOST = 100
SOON = 50_000


class Books:
    """Stands for the connections, and notes what it is told."""

    watches_idle = False

    def __init__(self):
        self.open, self.odd, self.held, self.closed, self.aborted, self.told = set(), {}, [], [], [], []
        self.timeouts = self

    def hold(self, fd, unsent):
        self.held.append((fd, bytes(unsent)))

    def close(self, fd):
        self.closed.append(fd)

    def abort(self, fd):
        self.aborted.append(fd)

    def moved(self, fds):
        self.told.append([*fds])


class FakeSpin:
    """Stands for the spin: looks once more, and counts what it is told."""

    def __init__(self):
        self.window, self.learnt = 1, 0
        self.limit, self.patience, self.tried = SOON, 3, 0

    def wait(self, look):
        return look()

    def woken(self):
        self.learnt += 1

    def try_out(self):
        self.tried += 1


class Pairs:
    """Connections, their books, and a short loop for them, which ``make`` makes of the books and the counters."""

    def __init__(self, make, number=1):
        self.pairs = [socket.socketpair() for _ in range(number)]
        for ours, theirs in self.pairs:
            ours.setblocking(False)
            theirs.settimeout(10)
        self.fds = [ours.fileno() for ours, _ in self.pairs]
        self.ours, self.theirs = self.pairs[0]
        self.books, self.counters, self.spin = Books(), Counters(), FakeSpin()
        self.books.open.update(self.fds)
        self.loops = make(self.books, self.counters)
        self.left, self.at = None, None

    def turns(self, *found, end=END, others=(), wake_ups=(), **options):
        """Let these be found, one after the other; return what is left for others. ``at`` is the time then."""
        self.left = iter(found)
        look = lambda: next(self.left, [])  # noqa: E731
        left = self.in_turn(look(), end, look, others=others, wake_ups=wake_ups, **options)
        assert 0 < self.at <= time.perf_counter_ns()
        return left

    def in_turn(self, found, end, look, *, others=(), wake_ups=(), **options):
        """Call the loop with what was found, and with a function that says what else is."""
        options = {"spin": self.spin, "wake_ups": iter(wake_ups), "others": others, **options}
        left, self.at = self.loops.in_turn(found, *self.limits(), end, look=look, **options)
        return left

    def limits(self):
        """What the loop is told of messages."""
        return ()

    def close(self):
        for sock in itertools.chain(*self.pairs):
            sock.close()


def fill(fd):
    """Leave no room for another byte; return how many fill it."""
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(fd, b"-" * 999)
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(fd, b"-")
    return filled

"""Decides which messages of a batch are answered.

The rules are the guard's (guard.py), asked for many datagrams at a time.

The result is the same as if the guard judged each datagram by itself, in the order of arrival, at one instant. The rate
is asked once for each run of messages from one address. If it allows only part of a run, that is the first part, and
the last train in it may be cut.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from ...counters import Counters, Reason
from ...guard import FIRST_BYTES, LOOK, Guard, RateLimit, source_of
from ...kernel.messages import FAMILY, NAME, Messages
from .sending import Run, Sending

FEW: Final = 3  # messages; of a batch of so many, the names are remembered as a whole
PASSED_REMEMBERED: Final = 1024  # batches' names; a forger can only make us look again
_INET6: Final = int(socket.AF_INET6)


class Admission:
    """Asks ``guard`` about the messages received, and counts those refused."""

    def __init__(self, messages: Messages, sending: Sending, guard: Guard, counters: Counters) -> None:
        self._messages, self._sending, self._guard, self.counters = messages, sending, guard, counters
        names = messages.names
        # The places of the addresses in names (kernel/messages.py), with their scope. A socket has names of one family.
        self._ipv4 = (names.column("I", 4),)
        self._ipv6 = (names.column("Q", 8), names.column("Q", 16), names.column("I", 24))

    def passes(self, number: int) -> bool:
        """Return whether the rules but the rate allow the sources of all messages.

        Mostly a few bytes of each source show that; where they do not, the guard is asked.
        """
        if number > FEW:
            return self._look(number)
        names, passed = self._messages.name_memory[: NAME * number], self._guard.passed
        if names in passed:
            return True
        if not self._look(number):
            return False
        if len(passed) >= PASSED_REMEMBERED:
            passed.clear()
        passed.add(names)
        return True

    def _look(self, number: int) -> bool:
        names, guard, end = self._messages.name_memory, self._guard, NAME * number
        high = names[2:end:NAME]
        if LOOK in high.translate(guard.high_bytes) and not guard.passes_all(high, names[3:end:NAME]):
            return False
        # Where an address begins and ends in its name (kernel/messages.py); IPv4-mapped ones begin again.
        if names[FAMILY] == _INET6:
            ends, first, mapped = names[23:end:NAME], names[8:end:NAME], names[20:end:NAME]
        else:
            ends, first, mapped = names[7:end:NAME], names[4:end:NAME], b""
        return (
            self._pass(ends.translate(guard.last_bytes))
            and self._pass(first.translate(FIRST_BYTES))
            and self._pass(mapped.translate(FIRST_BYTES))
        )

    def _pass(self, suspects: bytes) -> bool:
        """Return whether the guard passes each message whose byte here is LOOK."""
        i = suspects.find(LOOK)
        while i >= 0:
            if self._guard.refuses_source(*self._messages.source(i)) is not None:
                return False
            i = suspects.find(LOOK, i + 1)
        return True

    def choose(self, number: int, misdirected: Mapping[int, Reason]) -> list[Run]:
        """Return the runs of messages that all rules but the rate allow.

        ``misdirected`` are those not to be answered because of where they were sent to, and why.
        """
        runs: list[Run] = []
        for i in range(number):
            refused = misdirected.get(i) or self._guard.refuses_source(*self._messages.source(i))
            if refused is None:
                first = runs.pop()[0] if runs and runs[-1][1] == i else i
                runs.append((first, i + 1))
            else:
                self.counters.drop(refused, self._sending.datagrams(i))
        return runs

    def ration(self, rate: RateLimit, runs: list[Run], trains: bool) -> list[Run]:
        """Return the part of these runs, which all other rules allow, that the rate allows too.

        Returns ``runs`` itself if that is all of them.

        ``trains`` says whether messages may be trains. A train that is cut stays shorter.
        """
        granted_runs: list[Run] = []
        everything = True
        for first, end in self._by_source(runs):
            wanted = self._count(first, end) if trains else end - first
            granted = rate.take(source_of(*self._messages.peer(first)).key, wanted)
            if granted != wanted:
                everything = False
                self.counters.drop(Reason.UDP_RATE, wanted - granted)
                if not granted:
                    continue
                end = self._cut(first, granted) if trains else first + granted  # noqa: PLW2901
            if granted_runs and granted_runs[-1][1] == first:  # neighbours are one run again: each run is a call
                first = granted_runs.pop()[0]  # noqa: PLW2901
            granted_runs.append((first, end))
        return runs if everything else granted_runs

    def _by_source(self, runs: list[Run]) -> list[Run]:
        """Split runs where the address of the sender changes."""
        columns = self._ipv6 if self._messages.names.bytes[FAMILY] == _INET6 else self._ipv4
        parted: list[Run] = []
        for first, end in runs:
            for column in columns:
                if column[first + 1 : end] != column[first : end - 1]:  # they are not all equal
                    break
            else:
                parted.append((first, end))
                continue
            start = first
            addresses = list(zip(*(column[first:end].tolist() for column in columns), strict=True))
            for i in range(first + 1, end):
                if addresses[i - first] != addresses[i - 1 - first]:
                    parted.append((start, i))
                    start = i
            parted.append((start, end))
        return parted

    def _count(self, first: int, end: int) -> int:
        """Count the datagrams in messages."""
        return sum(map(self._sending.datagrams, range(first, end)))

    def _cut(self, first: int, granted: int) -> int:
        """Keep only ``granted`` datagrams, one or more, from message ``first`` on.

        Returns the end of the messages that are kept.
        """
        i = first
        while granted > 0:
            datagrams = self._sending.datagrams(i)
            if datagrams > granted:
                self._sending.shorten(i, granted)
            granted -= datagrams
            i += 1
        return i

"""When answers leave: a line that each flow's answers stand in, and leave in the order in which they came.

The line has no timer: it is asked when the first may leave, and told what the time is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

from .dice import Random
from .kinds import Faults
from .spoiling import Count

OVERHEAD: Final = 144  # bytes that an answer in the line takes beside its own, measured with CPython 3.11
AT_ONCE: Final = 64  # answers, or portions, in one turn; then others on the reactor have theirs
LONGEST_SLEEP: Final = 3600.0  # seconds of a timer: epoll_wait(2) takes milliseconds as an int, and a line may be long
PORTION: Final = 0.01  # seconds: a stream with a rate leaves in portions of that length
_SMALLEST: Final = 2.0**-54


class Line:
    """The answers of one flow that wait to leave.

    ``begun`` is when the flow began, in seconds; stalls are counted from then on. Datagrams are ``whole``: a rate
    holds each back, where it cuts the bytes of a stream in portions.
    """

    __slots__ = (
        "_begun", "_count", "_counted", "_delay", "_delay_dice", "_due", "_free", "_gone", "_jitter", "_jitter_dice",
        "_normal", "_portion", "_queue", "_rate", "_ready", "_stall", "held",
    )  # fmt: skip

    def __init__(
        self, faults: Faults, random: Callable[[str], Random], count: Count, begun: float, *, whole: bool
    ) -> None:
        delay = faults.delay
        self._delay = None if delay is None else delay.mean / 1e9
        self._normal = NormalDist(delay.mean / 1e9, delay.deviation / 1e9) if delay and delay.deviation else None
        self._jitter = None if faults.jitter is None else faults.jitter / 1e9
        self._stall = None if faults.stall is None else (faults.stall.length / 1e9, faults.stall.period / 1e9)
        self._rate = faults.rate
        self._portion = max(1, int(faults.rate * PORTION)) if faults.rate and not whole else None
        self._delay_dice = random("delay") if self._normal is not None else None
        self._jitter_dice = random("jitter") if self._jitter is not None else None
        self._count = count
        self._begun = begun
        self._ready = self._free = begun
        self._queue: deque[tuple[float, bytes]] = deque()
        self._gone = 0
        """How many bytes of the first answer have left."""
        self._due: float | None = None
        self._counted = False
        """Whether it was counted that a stall holds the first answer up."""
        self.held = 0
        """Bytes in the line, with what they take in memory."""

    def put(self, answer: bytes, now: float) -> None:
        """Add an answer at the end."""
        self._ready = max(self._ready, now + self._wait())
        self._queue.append((self._ready, answer))
        self.held += len(answer) + OVERHEAD

    def due(self) -> float | None:
        """Return when the first answer may leave, or its next portion; None if there is none."""
        if self._due is None and self._queue:
            self._due = self._when()
        return self._due

    def take(self, now: float) -> list[bytes]:
        """Remove what may leave by now, up to a bound; then more is due at once."""
        found: list[bytes] = []
        while len(found) < AT_ONCE and (due := self.due()) is not None and due <= now:
            answer = self._queue[0][1]
            portion = answer if self._portion is None else answer[self._gone : self._gone + self._portion]
            found.append(portion)
            self._gone += len(portion)
            self.held -= len(portion)
            if self._gone >= len(answer):
                self._queue.popleft()
                self._gone, self._counted = 0, False
                self.held -= OVERHEAD
            self._free, self._due = due, None
        return found

    def clear(self) -> int:
        """Throw away what waits; return how many answers that was."""
        number = len(self._queue)
        self._queue.clear()
        self._gone, self._due, self.held = 0, None, 0
        return number

    def _wait(self) -> float:
        """Draw how long the next answer waits."""
        wait = 0.0
        if self._delay is not None:
            self._count("delay", 1)
            wait = self._delay
            if self._normal is not None and self._delay_dice is not None:
                wait = max(0.0, self._normal.inv_cdf(max(_SMALLEST, self._delay_dice())))
        if self._jitter is not None and self._jitter_dice is not None:
            self._count("jitter", 1)
            wait += self._jitter * self._jitter_dice()
        if self._rate is not None:
            self._count("rate", 1)
        return wait

    def _when(self) -> float:
        """Work out when the first answer may leave, or its next portion."""
        ready, answer = self._queue[0]
        if self._rate is None:
            return self._after_stall(ready)
        begins = self._after_stall(max(ready, self._free))
        size = len(answer) - self._gone
        return self._after_stall(begins + min(size, self._portion or size) / self._rate)

    def _after_stall(self, at: float) -> float:
        """Move a time out of a stall, and count that."""
        if self._stall is None:
            return at
        length, period = self._stall
        phase = (at - self._begun) % period
        if phase < period - length:
            return at
        if not self._counted:
            self._counted = True
            self._count("stall", 1)
        return at + (period - phase)

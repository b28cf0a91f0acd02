"""What the portable engine's kinds of load have in common: each offers messages, and knows what is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ....reactors import Reactor
from ...run.plan import Share
from ...run.tally import Tally
from ..account import Account
from ..schedule import Schedule

NEVER: Final = (1 << 63) - 1
MILLISECOND: Final = 1_000_000
SLICE: Final = 512  # messages that are sent before the reactor may read
PAUSE: Final = 0.01  # seconds after which a flow that was refused goes on


class Offer:
    """A kind of load. The engine calls ``open``, ``begin``, ``turn`` again and again, ``finish`` and ``close``."""

    account: Account

    def __init__(
        self, share: Share, address: tuple[str, int], tally: Tally, reactor: Reactor, fail: Callable[[Exception], None]
    ) -> None:
        self.share, self.plan, self.address = share, share.plan, address
        self.tally, self.reactor = tally, reactor
        self.fail = fail
        """Ends the run with an error; may be called from anywhere under the reactor, and more than once."""
        self._left = share.count

    @property
    def opened(self) -> bool:
        """Whether all is open that has to be before the run."""
        return True

    @property
    def spent(self) -> bool:
        """Whether as many messages as the run has in all were begun."""
        return self._left == 0

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, nor due, after the last message was."""
        raise NotImplementedError

    def open(self) -> None:
        """Begin to open what has to be open. Raises LoadError."""

    def begin(self) -> None:
        """Start; ``account`` is there."""

    def turn(self, now: int) -> int:
        """Do what is due now, and say when to be called again at the latest; ``now`` is at once."""
        return NEVER

    def finish(self) -> None:
        """Count what is under way as what it is now that nobody waits any longer."""

    def close(self) -> None:
        """Close everything; the reactor runs on until that is done."""

    def take(self, now: int) -> bool:
        """Take leave to begin one more message, where it is not a schedule that says so."""
        if now >= self.account.window.last or self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def not_sent(self, intended: int) -> None:
        """Count what was due and is not to be sent any more."""
        self.account.began(intended)
        self.account.ended(intended, "not_sent")


class Scheduled(Offer):
    """A kind of load that has a timetable: what is due is sent, whatever is under way.

    It comes before the class that knows what is under way: ``class OpenTCP(Scheduled, TCPLoad)``.
    """

    _timetable: Timetable | None = None

    def begin(self) -> None:
        """Have a timetable."""
        super().begin()
        self._timetable = Timetable(self)

    @property
    def ahead(self) -> bool:
        """Whether a message is still to come due."""
        return self._timetable is not None and self._timetable.next() != NEVER

    @property
    def spent(self) -> bool:
        """Whether the count is reached."""
        return self._timetable is not None and self._timetable.spent

    def finish(self) -> None:
        """Count also what was never reached."""
        super().finish()
        for intended in self._timetable.rest() if self._timetable is not None else ():
            self.not_sent(intended)


class Timetable:
    """What is due in an open model, up to the end of the window."""

    def __init__(self, offer: Offer) -> None:
        self._window = offer.account.window
        self._schedule = Schedule(offer.share, self._window.begin)

    def take(self, now: int) -> list[int]:
        """Take what is due at ``now``, up to a bound."""
        due: list[int] = self._schedule.due(min(now, self._window.last - 1), SLICE).tolist()
        return due

    def next(self) -> int:
        """When the next message is due; ``NEVER`` if that would be after the last one."""
        upcoming = self._schedule.next_due()
        return upcoming if upcoming < self._window.last else NEVER

    @property
    def spent(self) -> bool:
        """Whether the count is reached."""
        return self._schedule.next_due() == NEVER

    def rest(self) -> list[int]:
        """Take all that is left, the run being over."""
        left: list[int] = []
        while self.next() != NEVER:
            left += self.take(NEVER)
        return left

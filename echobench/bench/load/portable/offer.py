"""The base of the portable engine's models of load.

Each model offers messages, and knows what is under way.
"""

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
SLICE: Final = 512  # messages sent before the reactor may read
PAUSE: Final = 0.01  # seconds that a refused flow pauses


class Offer:
    """A model of load.

    The engine calls ``open``, ``prepare``, ``begin``, ``turn`` repeatedly, ``finish`` and ``close``.
    """

    account: Account

    def __init__(
        self, share: Share, address: tuple[str, int], tally: Tally, reactor: Reactor, fail: Callable[[Exception], None]
    ) -> None:
        self.share, self.plan, self.address = share, share.plan, address
        self.tally, self.reactor = tally, reactor
        self.fail = fail
        """Ends the run with an error; may be called from any reactor callback, and more than once."""
        self._left = share.count

    @property
    def opened(self) -> bool:
        """Whether everything that the run needs is open."""
        return True

    @property
    def spent(self) -> bool:
        """Whether all messages of a run with a count have been begun."""
        return self._left == 0

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or still due, so that the run can end."""
        raise NotImplementedError

    def open(self) -> None:
        """Begin to open the sockets. Raises LoadError."""

    def prepare(self) -> None:
        """Make what the run needs, a while before it begins; ``account`` is set by now."""

    def begin(self) -> None:
        """Start to offer load."""

    def turn(self, now: int) -> int:
        """Do what is due, and return the latest time of the next call.

        ``now`` means at once.
        """
        return NEVER

    def finish(self) -> None:
        """Count messages still under way; the run waits for them no longer."""

    def close(self) -> None:
        """Close all sockets; the reactor runs on until that is done."""

    def take(self, now: int) -> bool:
        """Ask to begin one more message, in models without a schedule.

        Returns False when the run has enough.
        """
        if now >= self.account.window.last or self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def not_sent(self, intended: int) -> None:
        """Count a message that was due and will not be sent."""
        self.account.began(intended)
        self.account.ended(intended, "not_sent")


class Scheduled(Offer):
    """A model with a schedule: it sends what is due, whatever is under way.

    Put it before the class that sends: ``class OpenTCP(Scheduled, TCPLoad)``.
    """

    _timetable: Timetable | None = None

    def prepare(self) -> None:
        """Make the timetable, and draw its first times."""
        super().prepare()
        self._timetable = Timetable(self)
        self._timetable.next()

    @property
    def ahead(self) -> bool:
        """Whether more messages will become due."""
        return self._timetable is not None and self._timetable.next() != NEVER

    @property
    def spent(self) -> bool:
        """Whether the run's count has been reached."""
        return self._timetable is not None and self._timetable.spent

    def finish(self) -> None:
        """Also count messages that were due and never sent."""
        super().finish()
        for intended in self._timetable.rest() if self._timetable is not None else ():
            self.not_sent(intended)


class Timetable:
    """The schedule of an open model, up to the end of the run."""

    def __init__(self, offer: Offer) -> None:
        self._window = offer.account.window
        self._schedule = Schedule(offer.share, self._window.begin)

    def take(self, now: int) -> list[int]:
        """Take the messages that are due at ``now``, ``SLICE`` at most."""
        due: list[int] = self._schedule.due(min(now, self._window.last - 1), SLICE).tolist()
        return due

    def next(self) -> int:
        """Return when the next message is due; ``NEVER`` after the last one."""
        upcoming = self._schedule.next_due()
        return upcoming if upcoming < self._window.last else NEVER

    @property
    def spent(self) -> bool:
        """Whether the run's count has been reached."""
        return self._schedule.next_due() == NEVER

    def rest(self) -> list[int]:
        """Take all messages that are left when the run is over."""
        left: list[int] = []
        while self.next() != NEVER:
            left += self.take(NEVER)
        return left

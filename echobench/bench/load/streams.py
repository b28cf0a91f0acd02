"""The messages under way on one connection.

They come back in order, so a byte's position says which message it belongs to.
"""

from __future__ import annotations

from collections import deque

from ..run.plan import Sizes
from .account import Account
from .payload import message


class Stream:
    """One connection's messages. ``flow`` is its number in the run."""

    def __init__(self, account: Account, flow: int, sizes: Sizes) -> None:
        self.account = account
        self.flow = flow
        self._sizes = sizes
        self._next = 0
        self._under_way: deque[tuple[bytes, int, int]] = deque()
        self._had = 0
        self._heard = 0

    @property
    def under_way(self) -> int:
        """The number of messages that have not come back whole."""
        return len(self._under_way)

    def begin(self, intended: int, now: int) -> bytes:
        """Return the bytes of a message that is to be sent now."""
        size = int(self._sizes[self._next % len(self._sizes)])
        data = message(self.flow, self._next, now, size)
        self._next += 1
        self._under_way.append((data, intended, now))
        self.account.began(intended)
        self.account.sent(intended, now)
        return data

    def arrived(self, data: bytes, now: int) -> int | None:
        """Check bytes that have come back, and count the messages they complete.

        Returns that count, or None if a byte is wrong.

        After a wrong byte nobody knows where the next message begins: end the connection, and call :meth:`lost`.
        """
        whole = at = 0
        self._heard = now
        while at < len(data):
            if not self._under_way:
                self.account.tally.unexpected += 1
                return None
            expected, intended, sent = self._under_way[0]
            part = data[at : at + len(expected) - self._had]
            if part != expected[self._had : self._had + len(part)]:
                self._under_way.popleft()
                self.account.ended(intended, "corrupted")
                return None
            at += len(part)
            self._had += len(part)
            if self._had == len(expected):
                self._had = 0
                self._under_way.popleft()
                self.account.answered(intended, sent, now, len(expected))
                whole += 1
        return whole

    def silent(self, since: int) -> bool:
        """Tell whether messages are under way, all sent and the last bytes received before ``since``."""
        return bool(self._under_way) and max(self._heard, self._under_way[0][2]) < since

    def lost(self, how: str) -> None:
        """End all messages under way.

        The connection is gone (``refused``), or time is up (``unanswered``).
        """
        while self._under_way:
            _, intended, _ = self._under_way.popleft()
            self.account.ended(intended, how)
        self._had = 0

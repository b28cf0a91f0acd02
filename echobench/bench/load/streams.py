"""The messages under way on one connection.

They come back in order, so the position of a byte says which message it belongs to. The bytes are those of a tape
(tape.py), and messages that are sent together are one entry: nothing is made, kept or compared for each message.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Any, Final

import numpy as np

from ..run.plan import Sizes
from .account import Account
from .tape import BYTES, BYTES_VIEW, Tape

PIECES: Final = 64  # in one call of sendmsg(2), which takes IOV_MAX (1024) at most


class Layout:
    """Where a connection's messages begin and end, for one size, or for sizes that repeat."""

    def __init__(self, sizes: Sizes) -> None:
        self._ends: list[int] = np.cumsum(sizes).tolist()
        self._cycle: int = self._ends[-1]
        self._number = len(self._ends)

    def end(self, number: int) -> int:
        """Return the position at which so many messages end."""
        if self._number == 1:
            return number * self._cycle
        cycles, rest = divmod(number, self._number)
        return cycles * self._cycle + (self._ends[rest - 1] if rest else 0)

    def whole(self, position: int) -> int:
        """Return how many messages end at or before a position."""
        if self._number == 1:
            return position // self._cycle
        cycles, rest = divmod(position, self._cycle)
        return cycles * self._number + bisect_right(self._ends, rest)


class Stream:
    """One connection's messages. ``flow`` is its number in the run."""

    def __init__(self, account: Account, flow: int, layout: Layout) -> None:
        self._account, self._layout = account, layout
        self.unsent = 0
        """How many bytes of messages that were begun are still to be sent."""
        self._begun = self._over = 0
        """Numbers of messages: that were begun, and that have come back or were given up."""
        self._end = self._came = self._whole = 0
        """Positions: where the last message ends, up to where bytes have come back, and where the last message ends of
        those that have come back whole."""
        self._sending, self._awaited = Tape(flow), Tape(flow)
        self._departures: deque[tuple[int, int, int, int]] = deque()
        """Messages that left together: the position and the number of the first that did not, when they were due, and
        when they left."""
        self._heard = 0

    @property
    def under_way(self) -> int:
        """The number of messages that have not come back whole."""
        return self._begun - self._over

    def lead(self, tape: Tape) -> None:
        """Move a tape to the next byte to be sent."""
        tape.move_to(self._sending)

    def resume(self, back: int, number: int, sent: int, unsent: int) -> None:
        """Go on with a stream at rest, after others moved its messages and counted them.

        Whole messages of ``back`` bytes came back, and ``number`` left at ``sent``, of which ``unsent`` bytes are still
        to be sent.
        """
        self._end += back
        self._came = self._whole = self._end
        self._begun = self._over = self._layout.whole(self._end)
        self._awaited.forward(back)
        self._heard = sent
        if number:
            self._begun += number
            end = self._layout.end(self._begun)
            back += end - self._end - unsent
            self._end, self.unsent = end, unsent
            self._departures.append((end, self._begun, sent, sent))
        self._sending.forward(back)

    def begin(self, number: int, intended: int, now: int) -> None:
        """Begin messages that were due at ``intended``, and are to be sent now."""
        self._begun = begun = self._begun + number
        end = self._layout.end(begun)
        self.unsent += end - self._end
        self._end = end
        self._departures.append((end, begun, intended, now))
        self._account.departed(number, intended, now)

    def pieces(self) -> list[memoryview]:
        """Return bytes that are still to be sent: all of them, or so many that one call can send."""
        return self._sending.pieces(self.unsent, PIECES)

    def wrote(self, length: int) -> None:
        """Note that so many bytes were sent."""
        self.unsent -= length
        self._sending.forward(length)

    def send(self, sock: Any) -> None:
        """Send all that is to be sent. Raises OSError: BlockingIOError if there is no room for the rest."""
        sending = self._sending
        while unsent := self.unsent:
            if unsent < sending.left:
                sent = sock.send(BYTES_VIEW[sending.at : sending.at + unsent])
                sending.at += sent
                sending.left -= sent
                self.unsent = unsent - sent
            else:  # a message that crosses the end of a lap leaves in one call all the same
                self.wrote(sock.sendmsg(self.pieces()))

    def take(self) -> bytes:
        """Return all bytes that are to be sent, and note that they were."""
        taken = []
        while self.unsent:
            taken.append(b"".join(self.pieces()))
            self.wrote(len(taken[-1]))
        return b"".join(taken)

    def arrived(self, data: memoryview, now: int) -> int | None:
        """Check bytes that have come back, and count the messages they complete.

        Returns that count, or None if a byte is wrong.

        After a wrong byte nobody knows where the next message begins: end the connection, and call :meth:`lost`.
        """
        awaited, length = self._awaited, len(data)
        came = self._came + length
        self._heard = now
        if 0 < length < awaited.left and came <= self._end and BYTES.startswith(data, awaited.at):
            awaited.at += length
            awaited.left -= length
            self._came = came
            end, number, intended, sent = self._departures[0]
            if came != end:
                return self._complete(now)
            # Mostly, messages that left together come back together.
            whole = number - self._over
            self._account.all_returned(whole, end - self._whole, intended, sent, now)
            self._departures.popleft()
            self._over, self._whole = number, end
            return whole
        right = awaited.same(data[: self._end - self._came])
        awaited.forward(right)
        self._came += right
        whole = self._complete(now)
        if right == length:
            return whole
        if self._came == self._end:
            self._account.tally.unexpected += 1
        else:
            self._account.ended(self._departures[0][2], "corrupted")
            self._passed(self._over + 1)
        return None

    def _complete(self, now: int) -> int:
        """Count the messages that have come back whole by now, and return how many they are."""
        first = self._over
        while self._departures:
            end, number, intended, sent = self._departures[0]
            if end > self._came:
                number = self._layout.whole(self._came)
                if number == self._over:
                    break
                end = self._layout.end(number)
            self._account.all_returned(number - self._over, end - self._whole, intended, sent, now)
            self._passed(number)
            self._whole = end
        return self._over - first

    def _passed(self, number: int) -> None:
        """Note that the first ``number`` messages are no longer under way."""
        self._over = number
        if self._departures[0][1] == number:
            self._departures.popleft()

    def silent(self, since: int) -> bool:
        """Tell whether messages are under way, all sent and the last bytes received before ``since``."""
        return bool(self._departures) and max(self._heard, self._departures[0][3]) < since

    def lost(self, how: str) -> None:
        """End all messages under way.

        The connection is gone (``refused``), or time is up (``unanswered``).
        """
        for _, number, intended, _ in self._departures:
            self._account.ended(intended, how, number - self._over)
            self._over = number
        self._departures.clear()
        self.wrote(self.unsent)
        self._came = self._whole = self._end
        self._awaited.move_to(self._sending)

"""Judges whether messages come in company or alone, by which connections are the ring's or the poller's.

A batch of completions has a price that all its messages share. One that comes alone pays it by itself, and costs a
fifth more than if it was read and written. So connections go over to the ring when many are ready at a time, again and
again, and come back when what the ring brings is mostly single. In between they stay where they are. To move a
connection costs as much as a message or two, and for that to be little both take time.
"""

from __future__ import annotations

from typing import Final

CROWD: Final = 8  # connections that are ready at a time; SMALL of batches.py says why
FEW: Final = 4  # completions; fewer are hardly a batch
ENOUGH: Final = 8 * CROWD  # eight turns with crowds in a row; a pause of the machine makes a single one
LONG: Final = 512  # messages, which take some milliseconds at least
EACH: Final = 4  # messages for each connection that would have to move


class Company:
    """Judges for one mover."""

    def __init__(self) -> None:
        self._crowds = 0
        """A measure of turns with crowds, less the messages in between; ENOUGH at most."""
        self._alone = 0
        """How many more messages came by a few than by many, lately, while some were the ring's."""

    def polled(self, messages: int) -> None:
        """Learn that the poller found so many messages, a few at a time."""
        self._crowds = max(0, self._crowds - messages)

    def turn(self, ready: int, may: bool = True) -> None:
        """Learn how many ordinary connections were ready at a time in a turn of the poller.

        ``may`` says whether they may go over; a crowd that may not is no reason for anything.
        """
        if ready < CROWD:
            self._crowds = max(0, self._crowds - ready)
            self._alone += ready
        elif may:
            self._crowds = min(ENOUGH, self._crowds + CROWD)
            self._alone = 0  # the ring has few only because the poller still has the others

    def batch(self, completions: int) -> None:
        """Learn how many completions the ring had at a time."""
        if completions < FEW:
            self._alone += completions
        else:
            self._alone = max(0, self._alone - completions)

    def is_enough(self) -> bool:
        """Whether it is worth while to go over to the ring."""
        return self._crowds >= ENOUGH

    def is_missed(self, moving: int) -> bool:
        """Whether it is time for so many connections to come back, after which all counts begin anew."""
        if self._alone < LONG or self._alone < EACH * moving:
            return False
        self._alone = self._crowds = 0
        return True

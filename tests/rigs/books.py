"""An account for tests of a load's books: a clock that is turned by hand, and a window of ten seconds."""

from __future__ import annotations

from typing import Any

from echobench.bench.load.account import Account
from echobench.bench.load.window import SECOND, Window
from echobench.bench.run.plan import Plan
from echobench.bench.run.tally import ENDS, Tally

BEGIN = 5 * SECOND


def plan(**settings: Any) -> Plan:
    return Plan(**{"host": "127.0.0.1", "warmup": 0.0, "cooldown": 0.0, **settings})


class Books:
    """Everything that an engine has in common with every other."""

    def __init__(self, **settings: Any) -> None:
        self.plan = plan(**settings)
        self.tally = Tally()
        self.window = Window(self.plan, BEGIN)
        self.clock = BEGIN + 1000
        self.ticks: list[int] = []
        self.account = Account(
            self.plan, self.tally, self.window, lambda now, tally: self.ticks.append(now - BEGIN), lambda: self.clock
        )

    def later(self, nanoseconds: int = 1000) -> int:
        """Turn the clock."""
        self.clock += nanoseconds
        return self.clock

    def counts(self) -> dict[str, int]:
        """What the tally has that is not 0, of where messages end and of what comes beside."""
        names = (*ENDS, "duplicates", "reordered", "unexpected")
        return {name: value for name in names if (value := getattr(self.tally, name))}

"""The options of ``echobench sweep``: its own, and those of blast that apply."""

from __future__ import annotations

from typing import Any, Final

import click

from ..blast.options import SECTIONS
from ..cluster.options import SECTION
from ..command import HTML, IN_FILE, NUMBER, PNG, SECONDS, SHARE, WHOLE
from ..option import Option

LEFT_OUT: Final = {"window", "rate", "flood", "connect"}
"""Options of blast on the load that a sweep lacks: it is an open loop, and chooses the rate."""


SWEEP_SECTIONS: Final[dict[str, tuple[Option, ...]]] = {
    "Limits": (
        Option(
            ["--limit", "-L"],
            metavar="LIMITS",
            help="Limits that the server must keep, separated by commas, such as p99<1ms,loss<0.1%: any percentile, "
            "mean or max of the round-trip times from when messages were due, in ns, us, ms or s; and loss, in % or as "
            "a fraction. Without a limit on loss, loss<0.1% is added.",
        ),
    ),
    "The search": (
        Option(["--from-rate"], type=NUMBER, help="The lowest rate, to start with.  [default: 2k]"),
        Option(["--to-rate"], type=NUMBER, help="The highest rate to try.  [default: 10M]"),
        Option(
            ["--precision"],
            type=SHARE,
            help="Stop when the lowest rate that broke is at most this far above the highest that held.  [default: 5%]",
        ),
        Option(
            ["--repeats"],
            type=WHOLE,
            help="How many steps to make at a rate near the answer, at least 15 s apart; the majority decides. An odd "
            "number; with 1, a single disturbance may decide.  [default: 3]",
        ),
        Option(
            ["--step-duration", "-d", "duration"],
            type=SECONDS,
            help="How long to measure in each step.  [default: 5]",
        ),
        *(option for option in SECTIONS["How long"] if option.name in ("warmup", "cooldown", "timeout")),
    ),
    "Where to": SECTIONS["Where to"],
    "The load": tuple(option for option in SECTIONS["The load"] if option.name not in LEFT_OUT),
    "From where": SECTIONS["From where"],
    SECTION: SECTIONS[SECTION],
    "Output": (
        Option(["--quiet", "-q"], is_flag=True, help="Show only the result, no progress."),
        Option(
            ["--json"], type=click.Path(), metavar="FILE", help="Store the sweep as JSON; an existing file is replaced."
        ),
        Option(
            ["--csv"],
            type=click.Path(),
            metavar="FILE",
            help="Write the curve: a line with the main figures for each step, by rate; an existing file is replaced.",
        ),
        HTML,
        PNG,
        Option(
            ["--from", "stored"],
            type=IN_FILE,
            help="Repeat a sweep that --json stored; options given here override it.",
        ),
    ),
}

DEFAULTS: Final[dict[str, Any]] = {
    "from_rate": 2_000.0,
    "to_rate": 10_000_000.0,
    "precision": 0.05,
    "repeats": 3,
    "duration": 5.0,
}
"""Defaults of a sweep; for all other options those of blast."""

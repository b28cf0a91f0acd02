"""The options of ``echobench sweep``, by what they are for: those of blast that make sense, and those of the search."""

from __future__ import annotations

from typing import Any, Final

import click

from ..blast.options import SECTIONS
from ..command import HTML, IN_FILE, NUMBER, PNG, SECONDS, SHARE, WHOLE

LEFT_OUT: Final = {"window", "rate", "flood", "connect"}
"""Of blast's options on the load: a sweep is an open loop, and chooses the rate."""


SWEEP_SECTIONS: Final[dict[str, tuple[click.Option, ...]]] = {
    "What has to hold": (
        click.Option(
            ["--limit", "-l"],
            metavar="LIMITS",
            help="Limits that the server has to keep, with commas between them: p50, p90, p99, p99.9 or another "
            "percentile, mean or max of the round-trip times from when messages were due, in ns, us, ms or s; and "
            "loss, in % or as a fraction. Such as p99<1ms,loss<0.1%. Without one on loss, loss<0.1% is added.",
        ),
    ),
    "The search": (
        click.Option(["--from-rate"], type=NUMBER, help="The rate to begin with.  [default: 2k]"),
        click.Option(["--to-rate"], type=NUMBER, help="The highest rate to try.  [default: 10M]"),
        click.Option(
            ["--precision"],
            type=SHARE,
            help="End when the lowest rate that broke is so little above the highest that held.  [default: 5%]",
        ),
        click.Option(
            ["--repeats"],
            type=WHOLE,
            help="An odd number: near the answer, most of so many steps at one rate decide.  [default: 3]",
        ),
        click.Option(
            ["--step-duration", "-d", "duration"],
            type=SECONDS,
            help="How long is measured in each step.  [default: 5]",
        ),
        *(option for option in SECTIONS["How long"] if option.name in ("warmup", "cooldown", "timeout")),
    ),
    "Where to": SECTIONS["Where to"],
    "The load": tuple(option for option in SECTIONS["The load"] if option.name not in LEFT_OUT),
    "From where": SECTIONS["From where"],
    "What is shown and kept": (
        click.Option(["--quiet", "-q"], is_flag=True, help="Show only the result, and not how it goes."),
        click.Option(
            ["--json"], type=click.Path(), metavar="FILE", help="Store the whole sweep; a file there is replaced."
        ),
        click.Option(
            ["--csv"],
            type=click.Path(),
            metavar="FILE",
            help="Write the curve: a line with the main figures for each step, by rate; a file there is replaced.",
        ),
        HTML,
        PNG,
        click.Option(
            ["--from", "stored"],
            type=IN_FILE,
            help="Run again what a sweep that was stored with --json has run; what is given beside it goes before.",
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
"""What a sweep that is not run again begins with, where it is not what blast begins with."""

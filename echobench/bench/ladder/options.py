"""The options of ``echobench ladder``, by section."""

from __future__ import annotations

from typing import Final

import click

from ..command import CPUS, HTML, IN_FILE, PNG, SECONDS, WHOLE
from ..compare.options import LOAD
from ..option import Option
from .rungs import RUNGS

LADDER_SECTIONS: Final[dict[str, tuple[Option, ...]]] = {
    "The rungs": (
        Option(
            ["--rung", "rungs"],
            type=click.Choice([rung.name for rung in RUNGS]),
            multiple=True,
            help="Only this rung; may be repeated.  [default: all]",
        ),
    ),
    "The load": (
        Option(
            ["--load", "-l", "loads"],
            type=LOAD,
            multiple=True,
            help="A named load of compare, or several separated by commas; or 'name=OPTIONS' with options of blast. "
            "May be repeated.  [default: one,small,udp]",
        ),
        Option(["--duration", "-d"], type=SECONDS, help="How long to measure in each run.  [default: 1]"),
        Option(["--warmup"], type=SECONDS, help="How long to run before measuring.  [default: 0.5]"),
        Option(
            ["--rounds", "-R"],
            type=WHOLE,
            help="How often each rung runs under each load; fewer than 3 give no interval.  [default: 5]",
        ),
        Option(["--seed"], type=WHOLE, help="Seed of the random order of turns.  [default: 1]"),
        Option(
            ["--count-calls"],
            type=SECONDS,
            help="How long to count system calls under each load, apart from the rounds; 0 does not count. Needs "
            "Linux, and usually root.  [default: 0.3]",
        ),
    ),
    "Where": (
        Option(["--server-cpus"], type=CPUS, help="Pin the servers to these CPUs.  [default: one of the first core]"),
        Option(
            ["--load-cpus"],
            type=CPUS,
            help="Pin the load to these CPUs, one process on each.  [default: one of each other core, at most 3]",
        ),
    ),
    "Output": (
        Option(["--quiet", "-q"], is_flag=True, help="Show only the result, no progress."),
        Option(
            ["--json"],
            type=click.Path(),
            metavar="FILE",
            help="Store the figures as JSON, as compare does; an existing file is replaced.",
        ),
        HTML,
        PNG,
        Option(
            ["--from", "stored"],
            type=IN_FILE,
            metavar="FILE",
            help="Draw a ladder that --json stored, and run nothing.",
        ),
    ),
}

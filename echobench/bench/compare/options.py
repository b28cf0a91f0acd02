"""The options of ``echobench compare``, by section.

The reference in docs/ is made from them.
"""

from __future__ import annotations

from typing import Any, Final

import click

from ..command import CPUS, CSV, FAMILIES, HTML, IN_FILE, MARKDOWN, PNG, SECONDS, SHARE, WHOLE, WIDE, Parsed, share
from . import profiles
from .analysis.comparison import Subject
from .server import subject


def tolerance(text: str) -> float:
    """Read a tolerance: a share below 1. Raises ValueError."""
    value = share(text)
    if value >= 1:
        raise ValueError(f"a tolerance is below 100 %, not {text!r}")
    return value


def a_subject(text: str) -> Subject | str:
    """Read a subject, or keep the name of a file. Raises ValueError."""
    return text if text.endswith((".json", ".part")) and "=" not in text else subject.parse(text)


SUBJECT, LOAD = Parsed("subject", a_subject), Parsed("load", profiles.parse)

TOLERANCE = Parsed("share", tolerance)

SECTIONS: Final[dict[str, tuple[click.Option, ...]]] = {
    "The load": (
        click.Option(
            ["--load", "-l", "loads"],
            type=LOAD,
            multiple=True,
            help="A named load, or several separated by commas; or 'name=OPTIONS' with options of blast. May be "
            "repeated.  [default: small,one]",
        ),
        click.Option(["--duration", "-d"], type=SECONDS, help="How long to measure in each run.  [default: 3]"),
        click.Option(["--warmup"], type=SECONDS, help="How long to run before measuring.  [default: 0.5]"),
    ),
    "The rounds": (
        click.Option(
            ["--rounds", "-n"],
            type=WHOLE,
            help="How often each subject runs under each load. Fewer than 3 give no interval.  [default: 5]",
        ),
        click.Option(
            ["--extra-rounds"],
            type=WHOLE,
            help="How many extra rounds may replace rounds in which the host of a virtual machine took CPU time "
            "(steal).  [default: 0]",
        ),
        click.Option(["--seed"], type=WHOLE, help="Seed of the random order of turns.  [default: 1]"),
    ),
    "The servers": (
        click.Option(
            ["--server-cpus"], type=CPUS, help="Pin the servers to these CPUs.  [default: one of the first core]"
        ),
        click.Option(
            ["--load-cpus"],
            type=CPUS,
            help="Pin the load to these CPUs, one process on each.  [default: one of each other core, at most 3]",
        ),
        click.Option(
            ["--start-timeout"],
            type=SECONDS,
            help="How long a server may take to start.  [default: 10]",
        ),
        click.Option(
            ["--host"],
            help="The address that replaces {host}: where servers listen.  [default: 127.0.0.1, with -6 ::1]",
        ),
        *FAMILIES,
        click.Option(
            ["--idle-connections"],
            type=WHOLE,
            help="How many idle connections to open, to measure their memory apart from the rounds; 0 opens none.  "
            "[default: 200]",
        ),
        click.Option(
            ["--count-calls"],
            type=SECONDS,
            help="How long to count system calls under each load, apart from the rounds; 0 does not count. Needs "
            "Linux, and usually root.  [default: 0.5]",
        ),
    ),
    "Against a stored run": (
        click.Option(
            ["--against"],
            type=IN_FILE,
            help="Repeat a stored comparison, and fail if any subject is slower than in the stored run.",
        ),
        click.Option(["--tolerance"], type=TOLERANCE, help="How much less work it may do.  [default: 5%]"),
        click.Option(
            ["--time-tolerance"],
            type=SHARE,
            help="How much longer p50 and p99 may be, under loads that measure times.  [default: 25%]",
        ),
    ),
    "An unfinished run": (
        click.Option(
            ["--resume"],
            type=IN_FILE,
            metavar="FILE",
            help="Go on with a comparison that was ended early: FILE, or FILE.part if it was killed. --rounds may ask "
            "for more rounds than it had.",
        ),
    ),
    "Output": (
        click.Option(["--quiet", "-q"], is_flag=True, help="Show only the result, no progress."),
        WIDE,
        MARKDOWN,
        click.Option(
            ["--json"],
            type=click.Path(),
            metavar="FILE",
            help="Store the comparison as JSON; an existing file is replaced. Until then, finished rounds are in "
            "FILE.part.",
        ),
        CSV,
        HTML,
        PNG,
    ),
}

DEFAULTS: Final[dict[str, Any]] = {
    "rounds": 5,
    "extra_rounds": 0,
    "seed": 1,
    "duration": 3.0,
    "warmup": 0.5,
    "start_timeout": 10.0,
    "idle_connections": 200,
    "count_calls": 0.5,
    "tolerance": 0.05,
    "time_tolerance": 0.25,
}

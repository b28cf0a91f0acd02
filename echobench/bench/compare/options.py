"""The options of ``echobench compare``, by section.

The reference in docs/ is made from them.
"""

from __future__ import annotations

from typing import Any, Final

import click

from ..cluster.options import OPTIONS as MACHINES
from ..cluster.options import SECTION
from ..command import (
    CPUS,
    CSV,
    FAMILIES,
    HTML,
    IN_FILE,
    MARKDOWN,
    PNG,
    SECONDS,
    SHARE,
    WHOLE,
    WIDE,
    Parsed,
    share,
    whole,
)
from ..option import Option
from . import completion, profiles
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


AUTO: Final = "auto"


def rounds(text: str) -> int | str:
    """Read a number of rounds, or auto. Raises ValueError."""
    return AUTO if text == AUTO else whole(text)


ROUNDS = Parsed("number|auto", rounds)
SUBJECT = Parsed("subject", a_subject, completion.subjects)
LOAD = Parsed("load", profiles.parse, completion.loads)

TOLERANCE = Parsed("share", tolerance)

SECTIONS: Final[dict[str, tuple[Option, ...]]] = {
    "The load": (
        Option(
            ["--load", "-l", "loads"],
            type=LOAD,
            multiple=True,
            help="A named load, or several separated by commas; or 'name=OPTIONS' with options of blast. May be "
            "repeated.  [default: small,one]",
        ),
        Option(
            ["--duration", "-d"],
            type=SECONDS,
            help="How long to measure in each run, under every load.  [default: what a load says, or 3]",
        ),
        Option(
            ["--warmup"],
            type=SECONDS,
            help="How long to run before measuring, under every load.  [default: what a load says, or 0.5]",
        ),
    ),
    "The rounds": (
        Option(
            ["--rounds", "-R"],
            type=ROUNDS,
            help="How often each subject runs under each load; fewer than 3 give no interval. auto: until every "
            "interval is narrower than --precision, or --max-time is over; at least 5.  [default: 5]",
        ),
        Option(
            ["--precision"],
            type=SHARE,
            help="With --rounds auto: how far an interval may reach to either side.  [default: 2%]",
        ),
        Option(["--max-time"], type=SECONDS, help="With --rounds auto: how long the rounds may take.  [default: 10m]"),
        Option(
            ["--extra-rounds"],
            type=WHOLE,
            help="How many extra rounds may replace rounds in which the host of a virtual machine took CPU time "
            "(steal).  [default: 0]",
        ),
        Option(["--seed"], type=WHOLE, help="Seed of the random order of turns.  [default: 1]"),
    ),
    "The servers": (
        Option(["--server-cpus"], type=CPUS, help="Pin the servers to these CPUs.  [default: one of the first core]"),
        Option(
            ["--load-cpus"],
            type=CPUS,
            help="Pin the load to these CPUs, one process on each; with --cluster or --ssh, of each machine.  "
            "[default: one of each other core, at most 3]",
        ),
        Option(
            ["--start-timeout"],
            type=SECONDS,
            help="How long a server may take to start.  [default: 10]",
        ),
        Option(
            ["--host"],
            help="The address that replaces {host}: where servers listen.  [default: 127.0.0.1, with -6 ::1]",
        ),
        *FAMILIES,
        Option(
            ["--idle-connections"],
            type=WHOLE,
            help="How many idle connections to open, to measure their memory apart from the rounds; 0 opens none.  "
            "[default: 200]",
        ),
        Option(
            ["--count-calls"],
            type=SECONDS,
            help="How long to count system calls under each load, apart from the rounds; 0 does not count. Needs "
            "Linux, and usually root.  [default: 0.5]",
        ),
    ),
    "The reference": (
        Option(
            ["--reference"],
            metavar="NAME",
            help="The subject that the others are compared with.  [default: ideal]",
        ),
        Option(
            ["--ideal-workers"],
            type=WHOLE,
            metavar="NUMBER",
            help="How many worker processes echobench's own server has; give it as many CPUs with --server-cpus.  "
            "[default: 1]",
        ),
    ),
    SECTION: MACHINES,
    "Against a stored run": (
        Option(
            ["--against"],
            type=IN_FILE,
            help="Repeat a stored comparison, and fail if any subject is slower than in the stored run.",
        ),
        Option(["--tolerance"], type=TOLERANCE, help="How much less work it may do.  [default: 5%]"),
        Option(
            ["--time-tolerance"],
            type=SHARE,
            help="How much longer p50 and p99 may be, under loads that measure times.  [default: 25%]",
        ),
    ),
    "An unfinished run": (
        Option(
            ["--resume"],
            type=IN_FILE,
            metavar="FILE",
            help="Go on with a comparison that was ended early: FILE, or FILE.part if it was killed. --rounds may ask "
            "for more rounds than it had.",
        ),
    ),
    "Output": (
        Option(["--quiet", "-q"], is_flag=True, help="Show only the result, no progress."),
        WIDE,
        MARKDOWN,
        Option(
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
    "precision": 0.02,
    "max_time": 600.0,
    "seed": 1,
    "start_timeout": 10.0,
    "idle_connections": 200,
    "count_calls": 0.5,
    "tolerance": 0.05,
    "time_tolerance": 0.25,
}

"""The options of ``echobench compare``, by what they are for; the reference in docs/ is made from them."""

from __future__ import annotations

from typing import Any, Final

import click

from ..command import CPUS, IN_FILE, PNG, SECONDS, WHOLE, Parsed, share
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
    """Read a subject, or take what is a file's name. Raises ValueError."""
    return text if text.endswith(".json") and "=" not in text else subject.parse(text)


SUBJECT, LOAD = Parsed("subject", a_subject), Parsed("load", profiles.parse)

TOLERANCE = Parsed("share", tolerance)

SECTIONS: Final[dict[str, tuple[click.Option, ...]]] = {
    "The load": (
        click.Option(
            ["--load", "-l", "loads"],
            type=LOAD,
            multiple=True,
            help="A profile's name, or several with commas between; or 'name=OPTIONS' with the options of blast. May "
            "be given several times.  [default: small,one]",
        ),
        click.Option(["--duration", "-d"], type=SECONDS, help="How long each run is measured.  [default: 3]"),
        click.Option(["--warmup"], type=SECONDS, help="How long each is run before that.  [default: 0.5]"),
    ),
    "The rounds": (
        click.Option(
            ["--rounds", "-n"],
            type=WHOLE,
            help="How often each subject runs under each load, in turns. Less than 3 gives no interval.  [default: 5]",
        ),
        click.Option(
            ["--extra-rounds"],
            type=WHOLE,
            help="How many rounds more there may be for what ran while the host of a virtual machine took its "
            "processors' time (steal).  [default: 0]",
        ),
        click.Option(["--seed"], type=WHOLE, help="Where the random order of turns begins.  [default: 1]"),
    ),
    "The servers": (
        click.Option(
            ["--server-cpus"], type=CPUS, help="Keep the servers on these CPUs.  [default: one of the first core]"
        ),
        click.Option(
            ["--load-cpus"],
            type=CPUS,
            help="Keep the load on these, a process on each.  [default: one of each other core, 3 at most]",
        ),
        click.Option(
            ["--start-timeout"],
            type=SECONDS,
            help="How long a server may take until it echoes.  [default: 10]",
        ),
        click.Option(["--host"], help="Where the servers are to listen: what becomes of {host}.  [default: 127.0.0.1]"),
        click.Option(
            ["--idle-connections"],
            type=WHOLE,
            help="Measure apart what so many idle connections cost in memory; 0 leaves it out.  [default: 200]",
        ),
        click.Option(
            ["--count-calls"],
            type=SECONDS,
            help="Count apart, for so long under each load, how many system calls an echo costs (Linux, mostly only "
            "as root); 0 leaves it out.  [default: 0.5]",
        ),
    ),
    "Against a stored run": (
        click.Option(
            ["--against"],
            type=IN_FILE,
            help="Run again what that comparison ran, and fail if anything is slower than it was there.",
        ),
        click.Option(["--tolerance"], type=TOLERANCE, help="How much slower it may be.  [default: 5%]"),
    ),
    "What is shown and kept": (
        click.Option(["--quiet", "-q"], is_flag=True, help="Show only the result, and not how it goes."),
        click.Option(["--json"], type=click.Path(), metavar="FILE", help="Store the comparison; a file is replaced."),
        click.Option(["--html"], type=click.Path(), metavar="FILE", help="Write it as one page; a file is replaced."),
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
    "host": "127.0.0.1",
    "idle_connections": 200,
    "count_calls": 0.5,
    "tolerance": 0.05,
}

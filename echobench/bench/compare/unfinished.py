"""A comparison that is not finished: kept beside its file after each round, and gone on with later.

A comparison takes minutes or hours, and its terminal may be closed, or the machine stopped, at any moment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click

from ...host.ownership import is_ours
from ..files import json_target
from ..places import File, find
from ..printing import complain
from ..run import environment
from ..run.stored import ResultError
from .analysis.comparison import Comparison, Run, read
from .analysis.gate import differences
from .options import AUTO
from .order import LOOPBACK, stored_host
from .rounds import Turn

SUFFIX: Final = ".part"


class Part:
    """The file with the finished rounds; it is there while the comparison runs, and gone when that is stored."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._has_failed = False

    @classmethod
    def beside(cls, result: str | None, resumed: str | None) -> Part:
        """Find its place beside the result's. Raises click.UsageError if it would replace another one."""
        if result is None or not isinstance(find(result), File):
            return cls(None)
        path = result + SUFFIX
        if os.path.exists(path) and not (resumed and os.path.samefile(path, resumed)):
            raise click.UsageError(
                f"--json: {path} has the finished rounds of a comparison that was killed: go on with --resume {path}, "
                "or delete it"
            )
        return cls(path)

    def keep(self, unfinished: Comparison) -> None:
        """Store what there is. That it cannot be stored is said once, and ends nothing."""
        if self._path is None or self._has_failed:
            return
        try:
            json_target(self._path, Comparison.as_dict).write(unfinished)
        except OSError as error:
            self._has_failed = True
            complain(f"{self._path} could not be written, the rounds are in memory only: {error.strerror or error}")

    def remove(self) -> None:
        """Remove it: the result is stored."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()


def begun(options: dict[str, Any]) -> Comparison | None:
    """Read the comparison that is to be gone on with. Raises click.UsageError.

    ``options["json"]`` becomes the file that it was to be stored in, if none is given.
    """
    path = options["resume"]
    if path is None:
        return None
    try:
        found = read(path)
    except ResultError as error:
        raise click.UsageError(f"--resume: {error}") from None
    if not isinstance(found, Comparison):
        raise click.UsageError(f"--resume: {path} is a result of blast: give a result of compare")
    _check(found, options, path)
    if options["json"] is None:
        options["json"] = path.removesuffix(SUFFIX)
    return found


def _check(found: Comparison, options: dict[str, Any], path: str) -> None:
    automatic = options["rounds"] == AUTO
    wanted = found.rounds if automatic else options["rounds"] or found.rounds
    if wanted < found.rounds:
        raise click.UsageError(f"--resume: {path} is of {found.rounds} rounds, which --rounds cannot make fewer")
    if not (automatic or found.cut_short) and wanted == found.rounds:
        raise click.UsageError(f"--resume: {path} is complete; ask for more than {found.rounds} --rounds to go on")
    if found.calls and options["count_calls"] is not None:
        raise click.UsageError(f"--resume and --count-calls exclude each other: in {path} they are counted already")
    host = stored_host(found) or LOOPBACK
    here = environment.describe(host, is_ours(host))
    other = differences(found, attrs.evolve(found, environment=here))
    if other:
        name, (before, now) = next(iter(other.items()))
        raise click.UsageError(
            f"--resume: {path} is from another machine or system ({name}: {before} then, {now} now), whose rounds do "
            "not mix with this one's: run the comparison anew"
        )


def missing(turns: Sequence[Turn], runs: Sequence[Run]) -> list[Turn]:
    """Give the turns that have not been made."""
    made = {(run.round, run.load, run.subject) for run in runs}
    return [turn for turn in turns if (turn.round, turn.load.name, turn.subject.name) not in made]

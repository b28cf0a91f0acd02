"""Grades a program: makes its checks, and tells which are green, which are red, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from ..verify import Outcome, verify
from ..verify.outcomes import OK
from .chapters import Chapter, Check, Program
from .running import ProgramError, Running, to_its_end

HOST = "127.0.0.1"


@attrs.frozen(kw_only=True)
class Grade:
    """What one check saw."""

    check: Check
    green: bool
    seen: str
    """A sentence."""
    outcome: Outcome | None = None
    """What ``verify`` found, if the check is a clause."""
    output: str = ""
    """What a program wrote that could not be checked."""


def grade(chapter: Chapter, program: Program, file: Path) -> Iterator[Grade]:
    """Make all checks of a program of the chapter at a file, which may be the reader's own.

    Probes and tests are the chapter's own, whatever lies beside the file.
    Each check has a server of its own, so that none suffers from what another did.
    """
    for check in program.checks:
        yield _one(chapter, check, file.resolve())


def _one(chapter: Chapter, check: Check, file: Path) -> Grade:
    patience = 10 * check.timeout
    try:
        if check.run is not None:
            green, seen = to_its_end(chapter.folder / check.run, str(file), folder=file.parent, timeout=patience)
            return _with_words(Grade(check=check, green=green, seen=seen))
        with Running(file) as server:
            if check.probe is not None:
                where = (str(server.port), str(server.pid))
                probe = chapter.folder / check.probe
                green, seen = to_its_end(probe, *where, folder=file.parent, timeout=patience)
                return _with_words(Grade(check=check, green=green, seen=seen))
            return _with_words(_clause(check, server.port))
    except ProgramError as error:
        return Grade(check=check, green=False, seen=str(error), output=error.output)


def _clause(check: Check, port: int) -> Grade:
    assert check.clause is not None
    found = verify(
        HOST, port, families=(4,), clauses=(check.clause,), timeout=check.timeout, connections=check.connections
    )
    (outcome,) = found.outcomes
    return Grade(check=check, green=outcome.verdict == OK, seen=outcome.seen, outcome=outcome)


def _with_words(found: Grade) -> Grade:
    """Turn red what is green and lacks the words that it needs."""
    needs = found.check.needs
    if found.green and not re.search(needs, found.seen):
        words = needs.replace("\\", "")
        return attrs.evolve(found, green=False, seen=f"{found.seen}; it is green when it says {words}")
    return found

"""The chapters of the course, read from the ``chapter.toml`` in each one's folder.

The commands, the tests and the pages of the course all read the same file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

import attrs

from ...errors import EchobenchError
from ..verify.clauses import CLAUSES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Verdict = Literal["green", "red"]
Platform = Literal["linux", "posix", "any"]

INSTALLED: Final = Path(__file__).with_name("chapters")
"""Where a wheel has them (pyproject.toml)."""
SOURCES: Final = Path(__file__).parents[3] / "docs/examples/course"
"""Where a source tree has them."""


class ChapterError(EchobenchError):
    """A chapter that is not there, or whose file makes no sense; the message is one sentence."""


@attrs.frozen(kw_only=True)
class Check:
    """One thing that a program must show. Exactly one of ``clause``, ``probe`` and ``run`` is given."""

    clause: str | None = None
    """A clause of ``verify``, which is checked at the running program."""
    probe: str | None = None
    """A program of the chapter, run as ``python PROBE PORT PID`` beside the running program; status 0 is green."""
    run: str | None = None
    """A program of the chapter, run as ``python RUN FILE``, with no server; status 0 is green."""
    verdict: Verdict = "green"
    """What the program as it is in the chapter shows. A solution is green in every check of its exercise."""
    says: str = ""
    """A regular expression that is found in what is seen of the program as it is in the chapter."""
    needs: str = ""
    """A regular expression without which what would be green is red: some clauses are kept in a good way and a bad."""
    timeout: float = 3.0
    """Seconds that the server may be silent, as of ``verify``; a probe or run may take ten times that."""
    connections: int = 200
    """As of ``verify``."""

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be checked. Raises ChapterError."""
        given = [each for each in (self.clause, self.probe, self.run) if each is not None]
        if len(given) != 1:
            raise ChapterError(f"a check has one of clause, probe and run, not {given}")
        if self.clause is not None and self.clause not in {each.id for each in CLAUSES}:
            raise ChapterError(f"there is no clause {self.clause!r}: see echobench verify --list")
        for pattern in (self.says, self.needs):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ChapterError(f"{pattern!r} is no regular expression: {error}") from None
        if self.verdict not in get_args(Verdict):
            raise ChapterError(f"a verdict is green or red, not {self.verdict!r}")

    @property
    def name(self) -> str:
        """What a report calls it."""
        return self.clause or self.probe or self.run or ""

    @property
    def serves(self) -> bool:
        """Whether the program runs while it is checked."""
        return self.run is None

    def command(self, file: str) -> str:
        """Write the command that makes the same check by hand, with the placeholders PORT and PID."""
        if self.clause is None:
            return f"python {self.probe} PORT PID" if self.probe else f"python {self.run} {file}"
        words = ["echobench verify -4 127.0.0.1:PORT --clause", self.clause]
        words += [f"--timeout {self.timeout:g}"] if self.timeout != 3 else []
        words += [f"--connections {self.connections}"] if self.connections != 200 else []
        return " ".join(words)


@attrs.frozen(kw_only=True)
class Program:
    """A file of a chapter, and what it must show."""

    file: str
    about: str = ""
    """A few words."""
    checks: tuple[Check, ...] = ()
    platform: Platform = "any"
    """Where it runs."""

    @property
    def here(self) -> bool:
        """Whether it runs on this platform."""
        known = {"any": True, "linux": sys.platform == "linux", "posix": sys.platform != "win32"}
        return known[self.platform]


@attrs.frozen(kw_only=True)
class Exercise:
    """A starting point for the reader, with the checks that grade what is made of it."""

    number: int
    title: str
    text: str
    """What to do, in Markdown."""
    program: Program
    """The starting point, ``exercise_N.py``."""
    zoo: str | None = None
    """The faulty server of echobench's own tests that it is (``tests/rigs/faulty.py``)."""

    @property
    def solution(self) -> str:
        """Name the file of the solution."""
        return f"solution_{self.number}.py"


@attrs.frozen(kw_only=True)
class Chapter:
    """A chapter of the course."""

    number: int
    folder: Path
    title: str
    question: str
    programs: tuple[Program, ...]
    exercises: tuple[Exercise, ...]

    @property
    def name(self) -> str:
        """The folder's name, which is that of the page too: ``01-blocking``."""
        return self.folder.name

    @property
    def files(self) -> list[Path]:
        """What a reader gets: all files of the chapter but its data and solutions."""
        hidden = ("chapter.toml", "solution_")
        return [path for path in sorted(self.folder.glob("*.*")) if not path.name.startswith(hidden)]

    @property
    def solutions(self) -> list[Path]:
        """The files of the solutions."""
        return [self.folder / each.solution for each in self.exercises]

    def graded(self, name: str) -> Program:
        """Give the program with this file name; a solution is graded as its exercise. Raises ChapterError."""
        known = {each.file: each for each in self.programs}
        for each in self.exercises:
            known[each.program.file] = known[each.solution] = each.program
        if name not in known:
            raise ChapterError(
                f"chapter {self.number} has no program {name}: give a file with the name of one of its own, "
                f"{', '.join(each for each in known if not each.startswith('solution_'))}"
            )
        return known[name]


def read(folder: Path) -> Chapter:
    """Read a chapter. Raises ChapterError."""
    path = folder / "chapter.toml"
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
        return Chapter(
            number=int(folder.name.partition("-")[0]),
            folder=folder,
            title=known.pop("title"),
            question=known.pop("question"),
            programs=tuple(_program(each) for each in known.pop("programs")),
            exercises=tuple(_exercise(*pair) for pair in enumerate(known.pop("exercises"), 1)),
            **known,
        )
    except ChapterError as error:
        raise ChapterError(f"{folder.name}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ChapterError(f"{path} is not a chapter: {error}") from None


def _program(known: Mapping[str, Any]) -> Program:
    return Program(**{**known, "checks": tuple(Check(**each) for each in known.get("checks", ()))})


def _exercise(number: int, known: Mapping[str, Any]) -> Exercise:
    fields = dict(known)
    about = {"file": f"exercise_{number}.py", "about": fields["title"], "checks": fields.pop("checks")}
    about["platform"] = fields.pop("platform", "any")
    return Exercise(number=number, program=_program(about), **fields)


def chapters() -> list[Chapter]:
    """Read all chapters, in their order. Raises ChapterError."""
    place = INSTALLED if INSTALLED.is_dir() else SOURCES
    found = [read(path.parent) for path in sorted(place.glob("[0-9][0-9]-*/chapter.toml"))]
    if not found:
        raise ChapterError(f"the course is not installed: there are no chapters in {place}")
    return found


def chapter(number: int) -> Chapter:
    """Read one chapter by its number. Raises ChapterError."""
    found = {each.number: each for each in chapters()}
    if number not in found:
        raise ChapterError(f"there is no chapter {number}: choose from {', '.join(map(str, found))}")
    return found[number]

"""The command ``echobench learn``: lists the chapters of the course, copies their programs, and grades them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..option import Command, Option
from ..printing import printed, report_console
from .chapters import Chapter, ChapterError, chapter, chapters
from .grading import grade
from .report import show_chapter, show_copied, show_course, show_grades

OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        ["--check"],
        is_flag=True,
        help="Check the program PLACE, or all programs of the chapter in the folder PLACE, and say what is red and "
        "why.  [default of PLACE: the current folder]",
    ),
    Option(["--solutions"], is_flag=True, help="Copy the solutions of the exercises, too."),
)


def _run(number: int | None, place: str | None, *, check: bool, solutions: bool) -> int:
    console = report_console()
    if number is None:
        if check or solutions:
            raise click.UsageError(f"{'--check' if check else '--solutions'} is for one chapter: give its number")
        course = chapters()
        return printed(lambda: show_course(course, console))
    chosen = chapter(number)
    if check:
        if solutions:
            raise click.UsageError("--check and --solutions exclude each other: choose one")
        return _check(chosen, Path(place or "."))
    if place is None:
        if solutions:
            raise click.UsageError("--solutions copies into a folder: give one")
        return printed(lambda: show_chapter(chosen, console))
    copied = _copy(chosen, Path(place), chosen.files + (chosen.solutions if solutions else []))
    return printed(lambda: show_copied(chosen, copied, console))


def _copy(chosen: Chapter, folder: Path, files: Sequence[Path]) -> list[Path]:
    """Copy files into a folder. Raises click.UsageError if one is there, for it may be the reader's work."""
    there = [each.name for each in files if (folder / each.name).exists()]
    if there:
        raise click.UsageError(f"{folder} has {', '.join(there)} already: choose another folder, or remove them")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in files:
            shutil.copyfile(each, folder / each.name)
    except OSError as error:
        raise click.ClickException(f"{folder} could not be written: {error.strerror or error}") from None
    return [folder / each.name for each in files]


def _check(chosen: Chapter, place: Path) -> int:
    """Grade programs. Gives 0 if all checks are green, 1 if not."""
    if place.is_dir():
        names = [each.file for each in (*chosen.programs, *(each.program for each in chosen.exercises)) if each.checks]
        files = [place / name for name in names if (place / name).exists()]
        if not files:
            raise click.UsageError(
                f"there is no program of chapter {chosen.number} in {place}: copy them with echobench learn "
                f"{chosen.number} {place}"
            )
    elif os.access(place, os.R_OK):
        files = [place]
    else:
        raise click.UsageError(f"{place} is not there: give a program or a folder")
    green = True

    def report() -> None:
        nonlocal green
        console = report_console()
        for file in files:
            program = chosen.graded(file.name)
            if not program.here:
                console.print(f"{file.name} is for {program.platform} and cannot run here")
                continue
            green &= show_grades(file, grade(chosen, program, file), console)
            console.print()

    return printed(report) or int(not green)


def _command(**options: Any) -> None:
    try:
        status = _run(**options)
    except ChapterError as error:
        raise click.UsageError(str(error)) from None
    click.get_current_context().exit(status)


learn = Command(
    "learn",
    callback=_command,
    params=[
        click.Argument(["number"], required=False, type=click.IntRange(1), metavar="[CHAPTER]"),
        click.Argument(["place"], required=False, type=click.Path(), metavar="[PLACE]"),
        *OPTIONS,
    ],
    help="""Learn how an echo server is made: a course whose programs run, fail a check, and are mended.

    Without CHAPTER it lists the chapters; with it alone, it shows that chapter. With a folder as PLACE it copies the
    chapter's programs there; it replaces no file. The course's text is in docs/course.
    The exit status is 0, with --check 1 if a check is red; 2 if the options are wrong.""",
)

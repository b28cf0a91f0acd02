"""Prints the course to people: its chapters, one chapter, and the grades of a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..verify.report import explained
from .chapters import Chapter
from .grading import Grade

GREEN: Final = "green"
RED: Final = "bold red"


def show_course(course: Sequence[Chapter], console: Console) -> None:
    """List the chapters."""
    table = _table("", "chapter", "question")
    for each in course:
        table.add_row(Text(str(each.number)), Text(each.title), Text(each.question))
    console.print(table)
    console.print()
    console.print(Text("echobench learn 1 DIR copies the first chapter's programs into a folder."))


def show_chapter(chapter: Chapter, console: Console) -> None:
    """Show a chapter: its question, programs and exercises."""
    console.print(Text(f"{chapter.number}. {chapter.title}", style="bold"))
    console.print(Text(chapter.question))
    console.print()
    table = _table("program", "what it is")
    for program in chapter.programs:
        table.add_row(Text(program.file), Text(program.about))
    for exercise in chapter.exercises:
        table.add_row(Text(exercise.program.file), Text(f"exercise: {exercise.title}"))
    console.print(table)


def show_copied(chapter: Chapter, files: Sequence[Path], console: Console) -> None:
    """Say what was copied, and what to do next."""
    where = files[0].parent
    console.print(Text(f"{len(files)} files of chapter {chapter.number} are in {where}: "), end="")
    console.print(Text(", ".join(each.name for each in files)))
    console.print(Text(f"Check them: echobench learn {chapter.number} {where} --check"))


def show_grades(file: Path, grades: Iterable[Grade], console: Console) -> bool:
    """Print each grade as it comes, and then why it is red; tell whether all were green."""
    console.print(Text(file.name, style="bold"))
    red: list[Grade] = []
    for each in grades:
        verdict = ("green", GREEN) if each.green else ("red  ", RED)
        console.print(Text.assemble("  ", verdict, f"  {each.check.name}: {each.seen}"), soft_wrap=True)
        red += [] if each.green else [each]
    for each in red:
        console.print()
        if each.outcome is not None:
            console.print(Padding(explained(each.outcome), (0, 0, 0, 2)), end="")
        if each.output:
            console.print(Padding(Text(each.output), (0, 0, 0, 4)))
        console.print(Text(f"  by hand: {each.check.command(file.name)}"), soft_wrap=True)
    return not red


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table

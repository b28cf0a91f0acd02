"""The course: its chapters, how programs differ, and a chapter's exercises with the commands that check them."""

from __future__ import annotations

import difflib

from . import sources


def chapters() -> str:
    """List the chapters with their questions."""
    rows = [f"| {each.number} | [{each.title}]({each.name}.md) | {each.question} |\n" for each in sources.chapters()]
    return "| | chapter | question |\n|---|---|---|\n" + "".join(rows)


def _chapter(name: str) -> sources.Chapter:
    """Give the chapter of this name, which is that of its folder and page."""
    (found,) = (each for each in sources.chapters() if each.name == name)
    return found


def difference(name: str, before: str, after: str) -> str:
    """Show what two programs of a folder do not have in common, but for the line that says what they are."""
    folder = sources.chapters()[0].folder.parent / name
    texts = [(folder / each).read_text().splitlines()[1:] for each in (before, after)]
    lines = [*difflib.unified_diff(*texts, n=2, lineterm="")][3:]  # without the names and the first place
    shown = ["..." if line.startswith("@@") else line for line in lines]
    while not shown[-1].strip():  # a line beside a change that is empty
        shown.pop()
    while not shown[0].strip():
        shown.pop(0)
    return "\n".join(["```diff", *shown, "```"])


def exercises(name: str) -> str:
    """List the exercises of a chapter."""
    found = _chapter(name)
    return "\n".join(
        f"### {each.number}. {each.title}\n\n{each.text.strip()}\n\n"
        f"Start from `{each.program.file}`. {_graded(each.program.checks)}\n\n"
        f"```console\n$ echobench learn {found.number} --check {each.program.file}\n```\n"
        for each in found.exercises
    )


def _graded(checks: tuple[sources.Check, ...]) -> str:
    """Say by what an exercise is graded."""
    names = list(dict.fromkeys(f"`{each.name}`" for each in checks))
    said = f"{', '.join(names[:-1])} and {names[-1]} are" if names[1:] else f"{names[0]} is"
    return f"It is done when {said} green:"

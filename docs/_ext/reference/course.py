"""The course: its chapters, and a chapter's exercises with the commands that check them."""

from __future__ import annotations

from . import sources


def chapters() -> str:
    """List the chapters with their questions."""
    rows = [f"| {each.number} | [{each.title}]({each.name}.md) | {each.question} |\n" for each in sources.chapters()]
    return "| | chapter | question |\n|---|---|---|\n" + "".join(rows)


def exercises(name: str) -> str:
    """List the exercises of a chapter, which has the name of its folder and page."""
    (found,) = (each for each in sources.chapters() if each.name == name)
    return "\n".join(
        f"### {each.number}. {each.title}\n\n{each.text.strip()}\n\n"
        f"Start from `{each.program.file}`. {_graded(each.program.checks)}\n\n"
        f"```console\n$ echobench learn {found.number} --check {each.program.file}\n```\n"
        for each in found.exercises
    )


def _graded(checks: tuple[sources.Check, ...]) -> str:
    """Say by what an exercise is graded."""
    names = list(dict.fromkeys(f"`{each.name}`" for each in checks))
    return f"It is done when {' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)} is green:"

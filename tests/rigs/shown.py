"""Commands that a page of the documentation shows, with the output that it shows for them.

In the output ``…`` stands for what is left out: alone on a line for any lines, within a line for any text. Numbers with
a decimal point are other ones each time, except in percent; so are all in a log's line of stats, and the spaces in
tables. All else is as it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs


@attrs.frozen
class Command:
    """A command after ``$``, and the lines below it; no command for a block of text, which is of a server's log."""

    text: str
    shown: Sequence[str]


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page, and its blocks of text, in their order."""
    for kind, block in re.findall(r"^```(console|text)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        text, *rest = block.splitlines()
        if kind == "text":
            yield Command("", [text, *rest])
            continue
        shown: list[str] = []
        for line in [*rest, "$ "]:
            if line.startswith("$ "):
                yield Command(text.removeprefix("$ "), shown)
                text, shown = line, []
            else:
                shown.append(line)


def matches(shown: Sequence[str], output: str) -> bool:
    """Say whether an output is the one that is shown; spaces at the ends of lines do not count."""
    lines = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return re.fullmatch("".join(map(_pattern, shown)), lines) is not None


def _pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    found = re.sub(r"(?:\\ )+", r" +", re.escape(line.rstrip()))
    found = re.sub(r"\d[\d,]*\\\.\d+(?![\d%]|\\\.)", r"[\\d.,]+", found)
    if " +stats +" in found:
        found = re.sub(r"(?<=[=:])\d+\b", r"\\d+", found)
    return found.replace("…", ".*") + r"\n"


def replaced(text: str, by: Mapping[str, str]) -> str:
    """Replace whole numbers and words."""
    for one, other in by.items():
        text = re.sub(rf"\b{re.escape(one)}\b", other, text)
    return text

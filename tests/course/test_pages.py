"""The pages of the course: their commands are such as there are, and what they show of a run has a date."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from rigs.places import DOCS

from echobench.bench.commands import COMMANDS, Commands

PAGES = sorted(DOCS.glob("course/*.md"))
PROGRAMS = DOCS / "examples" / "course"
OTHERS = {"cd", "pip", "ps"}


def blocks(path, kind):
    """Give what stands in the code blocks of a kind."""
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


def commands():
    """Give each command of the course with its page."""
    for path in PAGES:
        for block in blocks(path, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                assert line.startswith("$ "), f"{path.name}: {line} is no command"
                for command in line[2:].removesuffix("&").split("&&"):
                    yield path.stem, shlex.split(command)


def shown(value):
    return value if isinstance(value, str) else " ".join(value)


@pytest.mark.parametrize(("page", "words"), list(commands()), ids=shown)
def test_a_command_is_one_that_there_is(page, words):
    words = words[1:] if words[0] == "time" else words
    if words[0] == "python":
        assert (PROGRAMS / page / words[1]).exists() or (page, words[1]) == ("index", "server.py")
    elif words[0] == "echobench":
        assert words[1] in COMMANDS
        command = Commands("echobench").get_command(click.Context(Commands()), words[1])
        command.make_context(words[1], words[2:])  # click.UsageError for what it does not take
    else:
        assert words[0] in OTHERS


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_was_seen_of_a_run_has_a_date(path):
    for block in blocks(path, "{code-block} text"):
        assert re.match(r":caption: Recorded on \d+ \w+ 20\d\d: Linux [\d.]+, CPython [\d.]+, ", block), block

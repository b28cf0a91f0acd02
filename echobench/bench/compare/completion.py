"""Completes the arguments of ``echobench compare`` in a shell: names of loads, and the shape of a subject."""

from __future__ import annotations

from typing import Final

from click.shell_completion import CompletionItem

from .profiles import PROFILES

SHAPE: Final = "NAME='COMMAND with {port}' or NAME=HOST:PORT"


def loads(incomplete: str) -> list[CompletionItem]:
    """Complete the last of several names with commas between them."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}", help=about)
        for name, (_, about) in PROFILES.items()
        if name.startswith(last) and name not in taken
    ]


def subjects(incomplete: str) -> list[CompletionItem]:
    """Complete a subject's shape step by step, ``name=``, and give files, which are stored comparisons."""
    if "=" in incomplete:
        # What follows is a command in quotes, whose words only its shell knows.
        return [CompletionItem(incomplete, help=f"a subject: {SHAPE}")] if incomplete.endswith("=") else []
    files = CompletionItem(incomplete, type="file")
    if not incomplete or not incomplete.replace("-", "").replace(".", "").replace("_", "").isalnum():
        return [files]
    return [CompletionItem(f"{incomplete}=", help=f"a subject: {SHAPE}"), files]

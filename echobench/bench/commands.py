"""The commands by name; each is imported when it is used, so that none waits for what another needs."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from .statuses import INTERRUPTED

COMMANDS: Final = {
    "blast": "blast.command:blast",
    "compare": "compare.command:compare",
    "doctor": "doctor.command:doctor",
    "ladder": "ladder.command:ladder",
    "learn": "learn.command:learn",
    "nic": "nic.command:nic",
    "show": "show.command:show",
    "sweep": "sweep.command:command",
    "verify": "verify.command:verify",
}
"""Module, below this package, and name of each."""


class Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name them in the order of help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        try:
            found: click.Command = getattr(importlib.import_module(f".{module}", __package__), name)
        except KeyboardInterrupt:  # nothing is begun, and click would print an empty line
            sys.exit(INTERRUPTED)
        return found

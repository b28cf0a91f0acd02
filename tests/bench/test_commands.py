"""The group of all commands: each is there, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from echobench.bench.commands import COMMANDS, Commands


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there(name):
    command = Commands("echobench").get_command(click.Context(Commands()), name)
    assert command is not None
    assert command.name == name


def test_another_is_not():
    assert Commands("echobench").get_command(click.Context(Commands()), "nosuch") is None


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [(["--version"], {"numpy", "twisted", "echobench.bench.load"}), (["blast", "--help"], {"twisted"})],
)
def test_what_a_command_does_not_need_is_not_imported(arguments, needless):
    code = (
        "import sys\nfrom echobench.cli import main\nsys.argv[1:] = sys.argv[2:]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('\\nimported', *sys.modules)\n"
    )
    command = [sys.executable, "-c", code, "-", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
    imported = set(done.stdout.rpartition("imported")[2].split())
    assert "click" in imported
    assert not imported & needless

"""The ``echobench`` command."""

from __future__ import annotations

import sys
from typing import Final

from . import __version__

EXTRA = ("numpy", "click", "rich")
INTERRUPTED: Final = 130
"""Status of a program that SIGINT ended: 128 and the signal's number."""


def main() -> None:
    """Run a command; without the extra ``bench``, say how to get it."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        name = " ".join(["echobench", *sys.argv[1:2]])
        sys.exit(f"{name} needs the extra: pip install 'echobench[bench]' ({error.name} is not installed)")


def _run() -> int:
    import click

    from .bench.blast.command import blast
    from .bench.compare.command import compare
    from .bench.printing import PrintError, prepare, unprinted
    from .bench.show.command import show
    from .bench.sweep.command import command as sweep
    from .bench.verify.command import verify

    prepare()
    commands = [blast, compare, show, sweep, verify]
    group = click.Group("echobench", help="Measure, compare and verify echo servers (RFC 862).", commands=commands)
    click.version_option(__version__)(group)
    try:
        return int(group.main(prog_name="echobench", standalone_mode=False) or 0)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PrintError as error:  # of a help text
        return unprinted(error)

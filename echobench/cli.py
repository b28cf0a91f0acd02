"""The ``echobench`` command."""

from __future__ import annotations

import sys

from . import __version__
from .early import plain_interrupts, restore_interrupts

EXTRA = ("numpy", "click", "rich")


def main() -> None:
    """Run a command; without the extra ``bench``, say how to get it.

    Ctrl-C while the commands are imported ends it without a traceback.
    """
    plain_interrupts()
    try:
        import click

        from .bench.blast.command import blast
        from .bench.compare.command import compare
        from .bench.sweep.command import command as sweep
        from .bench.verify.command import verify
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        name = " ".join(["echobench", *sys.argv[1:2]])
        sys.exit(f"{name} needs the extra: pip install 'echobench[bench]' ({error.name} is not installed)")
    restore_interrupts()
    commands = [blast, compare, sweep, verify]
    group = click.Group("echobench", help="Measure, compare and verify echo servers (RFC 862).", commands=commands)
    click.version_option(__version__)(group)(prog_name="echobench")

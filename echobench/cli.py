"""The ``echobench`` command."""

from __future__ import annotations

import sys

from . import __version__

EXTRA = ("numpy", "click", "rich")


def main() -> None:
    """Run a command; without the extra ``bench``, say how to get it."""
    try:
        import click

        from .bench.blast import blast
        from .bench.sweep_command import command as sweep
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        sys.exit(f"echobench blast needs the extra: pip install 'echobench[bench]' ({error.name} is not installed)")
    group = click.Group("echobench", help="Measure echo servers (RFC 862).", commands=[blast, sweep])
    click.version_option(__version__)(group)(prog_name="echobench")

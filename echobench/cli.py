"""The ``echobench`` command."""

from __future__ import annotations

import sys

from . import __version__
from .bench.statuses import INTERRUPTED

EXTRA = ("numpy", "click", "rich", "tomli")


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

    from .bench.commands import Commands
    from .bench.option import PREFIX, SETTINGS
    from .bench.printing import PrintError, prepare, unprinted
    from .bench.shells import register

    prepare()
    register()
    group = Commands(
        "echobench",
        help="Measure, compare and verify echo servers (RFC 862).",
        context_settings=dict(SETTINGS),
    )
    click.version_option(__version__)(group)
    try:
        return int(group.main(prog_name="echobench", standalone_mode=False, auto_envvar_prefix=PREFIX) or 0)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PrintError as error:  # of a help text
        return unprinted(error)

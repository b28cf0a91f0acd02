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

    from .bench.blast.command import blast
    from .bench.compare.command import compare
    from .bench.doctor.command import doctor
    from .bench.ladder.command import ladder
    from .bench.learn.command import learn
    from .bench.nic.command import nic
    from .bench.option import PREFIX, SETTINGS
    from .bench.printing import PrintError, prepare, unprinted
    from .bench.shells import register
    from .bench.show.command import show
    from .bench.sweep.command import command as sweep
    from .bench.verify.command import verify

    prepare()
    register()
    commands = [blast, compare, doctor, ladder, learn, nic, show, sweep, verify]
    group = click.Group(
        "echobench",
        help="Measure, compare and verify echo servers (RFC 862).",
        commands=commands,
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

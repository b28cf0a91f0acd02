"""The option ``--png``: a file for a picture. matplotlib is an extra, and imported only for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import click

from .comparison import Comparison
from .files import Target, bytes_target
from .judge import judge
from .results import Result
from .sweep_result import Sweep

MISSING: Final = "--png needs matplotlib: pip install 'echobench[png]'"

T = TypeVar("T")


def picture_target(path: str, make: Callable[[T], bytes]) -> Target[T]:
    """Give a file for the picture that ``make`` makes of a result.

    Raises OSError if it cannot be written, and click.UsageError if matplotlib is not there.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise click.UsageError(f"{MISSING} ({error})") from None
    return bytes_target(path, make)


def blast_png(result: Result) -> bytes:
    """Draw a run of blast."""
    from .report.png.blast import blast_figure
    from .report.png.sheet import png

    return png(blast_figure(result))


def compare_png(comparison: Comparison) -> bytes:
    """Draw a comparison."""
    from .report.png.compare import compare_figure
    from .report.png.sheet import png

    return png(compare_figure(comparison, judge(comparison)))


def sweep_png(done: Sweep) -> bytes:
    """Draw a sweep."""
    from .report.png.sheet import png
    from .report.png.sweep import sweep_figure

    return png(sweep_figure(done))

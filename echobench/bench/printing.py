"""Prints reports and progress, whatever standard output and standard error are.

They may be a closed pager, a full disk, closed from the start, or a terminal that knows nothing but ASCII. A run's
result must outlive all of them: so results are stored before they are printed, and progress that cannot be shown is
not shown.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

import click
from rich.console import Console

from ..errors import EchobenchError
from .statuses import CLOSED_PIPE

PLAIN: Final = {"µ": "u", "\xd7": "x", "±": "+-", "\u2013": "-", "…": "...", "≤": "<=", "≥": ">=", "·": "-", "█": "#",
         "▌": " "}  # fmt: skip
"""What stands for a character that a terminal does not know; all others become a question mark."""


class PrintError(EchobenchError, OSError):
    """Standard output could not be written."""


def report_console(*, to_error: bool = False, width: int | None = None) -> Console:
    """Give the console for a report; ``width`` is for where there is no terminal."""
    stream = sys.stderr if to_error else sys.stdout
    return Console(highlight=False, stderr=to_error, width=None if stream.isatty() else width)


def progress_console(*, quiet: bool = False) -> Console:
    """Give standard error for progress."""
    return Console(stderr=True, highlight=False, quiet=quiet)


def is_live(console: Console) -> bool:
    """Whether a line can be rewritten on this console."""
    return console.is_terminal and not console.is_dumb_terminal


def printed(show: Callable[[], object]) -> int:
    """Print a report. Give 0, or the status that says that it could not be printed whole."""
    try:
        show()
        sys.stdout.flush()
    except PrintError as error:
        return unprinted(error)
    return 0


def unprinted(error: PrintError) -> int:
    """Say that a report could not be printed, and give the status. Whoever closes a pager has seen enough."""
    _discard(sys.stdout)
    if error.errno == errno.EPIPE:
        return CLOSED_PIPE
    complain(f"Error: the report could not be printed: {error.strerror or error}")
    return 1


def complain(sentence: str) -> None:
    """Write a sentence to standard error, if anybody is there."""
    with contextlib.suppress(OSError):
        click.echo(sentence, err=True)


def prepare() -> None:
    """Make this process's standard streams fit for what follows, once, when a command starts."""
    _open_all()
    with contextlib.suppress(LookupError):
        codecs.lookup_error("echobench.plain")
        return
    codecs.register_error("echobench.plain", _plain)
    sys.stdout = _wrapped(sys.stdout or _text(1), _Output)
    sys.stderr = _wrapped(sys.stderr or _text(2), _Patient)


def _open_all() -> None:
    """Open what was closed of descriptors 0 to 2, for reading only.

    Otherwise the first sockets would get these numbers, and reports would be sent to a server. To write to one that
    is open for reading is an error, as it would be if it were closed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def _text(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)


class _Output(io.TextIOWrapper):
    """Standard output whose errors can be told from all others."""

    def write(self, text: str) -> int:
        """Write. Raises PrintError."""
        with _as_print_error():
            return super().write(text)

    def flush(self) -> None:
        """Pass on what was written. Raises PrintError."""
        with _as_print_error():
            super().flush()


@contextlib.contextmanager
def _as_print_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PrintError(error.errno, error.strerror) from error


class _Patient(io.TextIOWrapper):
    """Standard error that drops what cannot be written: progress and complaints must never end a run."""

    def write(self, text: str) -> int:
        """Write, or not."""
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written, or not."""
        with contextlib.suppress(OSError):
            super().flush()


def _wrapped(stream: Any, kind: type[io.TextIOWrapper]) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding, line_buffering = stream.encoding, stream.line_buffering
    return kind(stream.detach(), encoding=encoding, errors="echobench.plain", line_buffering=line_buffering)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(each, "?") for each in error.object[error.start : error.end]), error.end


def _discard(stream: Any) -> None:
    """Let what is left in a stream go nowhere, so that Python's own last flush does not fail again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)

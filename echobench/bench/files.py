"""Writes results to files, whole or not at all.

A file is written beside its place and moved there when it is complete. Before a run begins, each file is opened on
trial, so that a wrong path costs no run.
"""

from __future__ import annotations

import csv
import io
import json
import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import click

from .run.result import NAMES, Result, figures

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Target(Protocol[T_contra]):
    """A place where a result will be stored."""

    path: Path

    def write(self, result: T_contra) -> None:
        """Store the result. Raises OSError."""


def text_target(path: str, make: Callable[[T_contra], str]) -> Target[T_contra]:
    """Prepare a file for the text that ``make`` makes of a result.

    An existing file is replaced. Raises OSError if it cannot be written.
    """
    return _Made(path, make)


def bytes_target(path: str, make: Callable[[T_contra], bytes]) -> Target[T_contra]:
    """Prepare a file for the bytes that ``make`` makes of a result.

    An existing file is replaced. Raises OSError if it cannot be written.
    """
    return _Made(path, make)


def json_target(
    path: str, make: Callable[[T_contra], dict[str, Any]] = operator.methodcaller("as_dict")
) -> Target[T_contra]:
    """Prepare a file for a result as JSON.

    An existing file is replaced. Raises OSError if it cannot be written.
    """
    return _Made(path, lambda result: json.dumps(make(result), indent=1, allow_nan=False) + "\n")


def csv_target(path: str) -> Target[Result]:
    """Prepare a file for the main figures.

    A line is added to an existing file. Raises OSError if it cannot be written.
    """
    return _Csv(path)


class _Made(Generic[T_contra]):
    def __init__(self, path: str, make: Callable[[T_contra], str | bytes]) -> None:
        self.path, self._make = _probe(path), make

    def write(self, result: T_contra) -> None:
        _replace(self.path, self._make(result))


class _Csv:
    def __init__(self, path: str) -> None:
        self.path = _probe(path)
        self._before()

    def _before(self) -> str:
        """Read the lines that are there. Raises OSError if their columns differ."""
        before = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""
        if before and before.splitlines()[0] != csv_line(list(NAMES)).rstrip():
            raise OSError("it has other columns than these results: choose another file")
        return before if before.endswith("\n") or not before else before + "\n"

    def write(self, result: Result) -> None:
        before = self._before()
        _replace(self.path, (before or csv_line(list(NAMES))) + csv_line(list(figures(result).values())))


def csv_line(values: list[object]) -> str:
    """Write one line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _probe(path: str) -> Path:
    """Find the place that a path leads to. Raises OSError if it cannot be written."""
    place = Path(path).resolve()
    if place.is_dir():
        raise IsADirectoryError(21, "it is a directory")
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(13, "it may not be written")
    if not place.exists() or place.is_file():
        beside = _beside(place)
        beside.open("x").close()
        beside.unlink()
    return place


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name}.{os.getpid()}.tmp")


def _replace(place: Path, content: str | bytes) -> None:
    """Replace a file's content, or write to what is not a file: /dev/stdout, a pipe."""
    data = content.encode() if isinstance(content, str) else content
    if place.exists() and not place.is_file():
        place.write_bytes(data)
        return
    beside = _beside(place)
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def open_targets(*wanted: tuple[str, str | None, Callable[[str], Target[T]]]) -> list[Target[T]]:
    """Prepare the files that options name. Raises click.UsageError.

    ``wanted`` has an option's name, its value (a path or None) and what makes a target of the path.
    """
    targets = []
    for option, path, make in wanted:
        if path is not None:
            try:
                targets.append(make(path))
            except OSError as error:
                raise click.UsageError(f"{option}: {path} cannot be written: {error.strerror or error}") from None
    return targets


def store(targets: list[Target[T]], result: T) -> int:
    """Write a result to all files, and give the exit status.

    A file that cannot be written is reported, and the others are written.
    """
    status = 0
    for target in targets:
        try:
            target.write(result)
        except OSError as error:
            click.echo(f"Error: {target.path} could not be written: {error.strerror or error}", err=True)
            status = 1
    return status


MISSING: Final = "--png needs matplotlib: pip install 'echobench[png]'"


def picture_target(path: str, make: Callable[[T], bytes]) -> Target[T]:
    """Prepare a file for the picture that ``make`` makes of a result.

    Raises OSError if it cannot be written, and click.UsageError without matplotlib.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise click.UsageError(f"{MISSING} ({error})") from None
    return bytes_target(path, make)

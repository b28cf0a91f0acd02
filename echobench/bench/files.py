"""Files of results. They are written beside their place and moved there whole; what cannot be is found out before."""

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
    """Where a result is going to be stored."""

    path: Path

    def write(self, result: T_contra) -> None:
        """Store it. Raises OSError."""


def text_target(path: str, make: Callable[[T_contra], str]) -> Target[T_contra]:
    """Give a file for a text made of a result; one that is there is replaced. Raises OSError if it cannot be."""
    return _Made(path, make)


def bytes_target(path: str, make: Callable[[T_contra], bytes]) -> Target[T_contra]:
    """Give a file for bytes made of a result; one that is there is replaced. Raises OSError if it cannot be."""
    return _Made(path, make)


def json_target(
    path: str, make: Callable[[T_contra], dict[str, Any]] = operator.methodcaller("as_dict")
) -> Target[T_contra]:
    """Give a file for a result as JSON; one that is there is replaced. Raises OSError if it cannot be written."""
    return _Made(path, lambda result: json.dumps(make(result), indent=1, allow_nan=False) + "\n")


def csv_target(path: str) -> Target[Result]:
    """Give a file for main figures; a line is added to one that is there. Raises OSError if it cannot be."""
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
        """Read what is there: lines with our names, or nothing."""
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
    """Find the place that a path leads to, and whether it can be written."""
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
    """Put a text or bytes in a file's place, or write it to what is no file: /dev/stdout, a pipe."""
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
    """Give the files that options name, before anything is run for them. Raises click.UsageError."""
    targets = []
    for option, path, make in wanted:
        if path is not None:
            try:
                targets.append(make(path))
            except OSError as error:
                raise click.UsageError(f"{option}: {path} cannot be written: {error.strerror or error}") from None
    return targets


def store(targets: list[Target[T]], result: T) -> int:
    """Write the files, and give the status; what cannot be written is said, and the others are written."""
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
    """Give a file for the picture that ``make`` makes of a result.

    Raises OSError if it cannot be written, and click.UsageError if matplotlib is not there.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise click.UsageError(f"{MISSING} ({error})") from None
    return bytes_target(path, make)

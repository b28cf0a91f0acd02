"""Writes results to the files that options name.

Before a run begins, each is opened on trial, so that a wrong path costs no run. How a place is written is in
``places``.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import click

from . import places
from .places import Place
from .printing import complain
from .run.result import NAMES, Result, figures

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Target(Protocol[T_contra]):
    """A place where a result will be stored."""

    place: Place

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
        self.place, self._make = places.find(path), make

    def write(self, result: T_contra) -> None:
        content = self._make(result)
        self.place.write(content.encode() if isinstance(content, str) else content)


class _Csv:
    def __init__(self, path: str) -> None:
        self.place = places.find(path)
        if isinstance(self.place, places.File):
            self._check(self.place.first_line())

    def write(self, result: Result) -> None:
        line = csv_line(list(figures(result).values()))

        def addition(first: str) -> bytes:
            self._check(first)
            return (line if first else csv_line(list(NAMES)) + line).encode()

        self.place.append(addition)

    @staticmethod
    def _check(first: str) -> None:
        """Check the line that names the columns. Raises OSError if they differ from these results'."""
        if first and first != csv_line(list(NAMES)).rstrip():
            raise OSError("it has other columns than these results: choose another file")


def csv_line(values: list[object]) -> str:
    """Write one line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def open_targets(*wanted: tuple[str, str | None, Callable[[str], Target[T]]]) -> list[Target[T]]:
    """Prepare the files that options name. Raises click.UsageError.

    ``wanted`` has an option's name, its value (a path, - for standard output, or None) and what makes a target of it.
    """
    targets: list[Target[T]] = []
    options: dict[str, str] = {}
    for option, path, make in wanted:
        if path is None:
            continue
        try:
            target = make(path)
        except OSError as error:
            raise click.UsageError(f"{option}: {path} cannot be written: {error.strerror or error}") from None
        if target.place.name in options:
            raise click.UsageError(
                f"{options[target.place.name]} and {option} both go to {target.place.name}: choose another file for one"
            )
        options[target.place.name] = option
        targets.append(target)
    return targets


def takes_output(targets: Sequence[Target[Any]]) -> bool:
    """Whether standard output is a result's, so that the report goes to standard error."""
    wholly = places.STANDARD_OUTPUT
    return any(isinstance(each.place, places.Descriptor) and each.place.number == wholly for each in targets)


def store(targets: list[Target[T]], result: T) -> int:
    """Write a result to all files, and give the exit status.

    A file that cannot be written is reported, and the others are written.
    """
    status = 0
    for target in targets:
        try:
            target.write(result)
        except OSError as error:
            complain(f"Error: {target.place.name} could not be written: {error.strerror or error}")
            status = 1
    return status


RENDERER: Final = ("resvg_py", "font_roboto")  # the modules of the extra ``png``: bench/drawing/png/render.py
MISSING: Final = "--png needs resvg-py and font-roboto: pip install 'echobench[png]'"


def picture_target(path: str, make: Callable[[T], bytes]) -> Target[T]:
    """Prepare a file for the picture that ``make`` makes of a result.

    Raises OSError if it cannot be written, and click.UsageError without the extra ``png``.
    """
    try:
        for name in RENDERER:
            importlib.import_module(name)
    except ImportError as error:
        raise click.UsageError(f"{MISSING} ({error})") from None
    return bytes_target(path, make)

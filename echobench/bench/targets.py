"""The files that a command's options name: opened before anything is done for them, and written at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from .files import Target

T = TypeVar("T")


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

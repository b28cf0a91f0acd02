"""What a machine runs: two that differ must not share a load, because their figures would not be of one thing."""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path
from typing import Final

import attrs

import echobench

CHAPTERS: Final = "bench/learn/chapters"
"""The course: in a wheel it is a part of the package, in a working copy it is not."""


@attrs.frozen
class Identity:
    """The version of this package, its source, and the version of Python."""

    version: str
    source: str
    """The beginning of the SHA-256 of the package's files: a working copy may differ within a version."""
    python: str

    def __str__(self) -> str:
        return f"echobench {self.version} (source {self.source}) on Python {self.python}"


@functools.cache
def ours() -> Identity:
    """Give this process's own."""
    folder = Path(echobench.__file__).parent
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        if folder / CHAPTERS in path.parents:
            continue
        found.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return Identity(echobench.__version__, found.hexdigest()[:12], platform.python_version())


def difference(theirs: Identity, mine: Identity) -> str:
    """Say in what a machine differs so that it cannot take part; empty if in nothing that matters.

    Another Python of the same minor version does not.
    """
    if (theirs.version, theirs.source) != (mine.version, mine.source) or minor(theirs) != minor(mine):
        return f"it has {theirs}, and here is {mine}: install the same on all"
    return ""


def minor(identity: Identity) -> str:
    """Give the version of Python without its last part: 3.12."""
    return ".".join(identity.python.split(".")[:2])

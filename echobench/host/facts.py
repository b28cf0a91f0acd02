"""Reads what the kernel tells about a host, below a root that tests can make."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

LIMITS: Final = ("nofile", "memlock")


def _limits() -> dict[str, tuple[int, int]]:
    """Give the soft and the hard limit of this process, by name; -1 is none."""
    try:
        import resource
    except ImportError:  # Windows
        return {}
    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}")) for name in LIMITS}


def _affinity() -> int:
    """Count the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@attrs.frozen(kw_only=True)
class Facts:
    """A host, as its files tell it. What cannot be read is None."""

    root: Path = Path("/")
    cpus: int = attrs.Factory(lambda: os.cpu_count() or 1)
    usable: int = attrs.Factory(_affinity)
    """How many of the CPUs this process may use."""
    limits: Mapping[str, tuple[int, int]] = attrs.Factory(_limits)
    privileged: bool = attrs.Factory(lambda: hasattr(os, "geteuid") and os.geteuid() == 0)

    def text(self, path: str) -> str | None:
        """Read a file."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """Read a file with one number."""
        text = self.text(path)
        return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else None

    def numbers(self, path: str) -> list[int] | None:
        """Read a file with several numbers in a line."""
        words = (self.text(path) or "").split()
        return list(map(int, words)) if words and all(map(is_number, words)) else None

    def sysctl(self, name: str) -> int | None:
        """Read one of the numbers that the command of this name shows."""
        return self.number(f"proc/sys/{name.replace('.', '/')}")

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self.root / path).exists()

    def names(self, pattern: str) -> list[str]:
        """Give the paths that a pattern names, sorted."""
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.glob(pattern))

    def table(self, path: str) -> Sequence[Sequence[str]]:
        """Read a file of lines of words."""
        return [line.split() for line in (self.text(path) or "").splitlines()]

    def fields(self, path: str) -> dict[str, str]:
        """Read a file of lines ``name: value``; of several with one name, the first."""
        found: dict[str, str] = {}
        for line in (self.text(path) or "").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                found.setdefault(name.strip(), value.strip())
        return found

    def programs(self) -> Iterator[str]:
        """Give the names of the processes that run."""
        for path in self.names("proc/[0-9]*/comm"):
            if (name := self.text(path)) is not None:
                yield name


def is_number(word: str) -> bool:
    """Whether a word is a whole number that is not negative, as the kernel writes them."""
    return re.fullmatch("[0-9]{1,20}", word) is not None


def setting(name: str, value: object) -> str:
    """Write the command that sets a number of sysctl(8)."""
    return f"sysctl -w {name}='{value}'" if " " in str(value) else f"sysctl -w {name}={value}"

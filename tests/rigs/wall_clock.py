"""A wall clock that a test sets, for processes of their own."""

from __future__ import annotations

import os
from pathlib import Path

SITE = '''"""Python imports this first (site), and so before Twisted takes time.time."""
import os, time

real, name = time.time, os.environ["ECHOBENCH_WALL_CLOCK"]

def shifted():
    try:
        with open(name) as file:
            return real() + float(file.read() or 0)
    except OSError:
        return real()

time.time = shifted
'''


class WallClock:
    """Starts right; ``set`` moves it, in processes that were started with ``env``."""

    def __init__(self, folder: Path) -> None:
        self._name = folder / "wall-clock"
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE)
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.env = {"PYTHONPATH": path, "ECHOBENCH_WALL_CLOCK": str(self._name)}

    @property
    def environment(self) -> dict[str, str]:
        """Return the whole environment of such a process."""
        return {**os.environ, **self.env}

    def set(self, seconds: float) -> None:
        """Set it so many seconds forward, or back."""
        temporary = self._name.with_suffix(".new")
        temporary.write_text(str(seconds))
        temporary.rename(self._name)

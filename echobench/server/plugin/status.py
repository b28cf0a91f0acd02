"""Ends the process with a status other than 0, under every runner.

twistd and twist have no way to say with which status the process ends once the reactor runs: they end with 0 when it
stops, whatever the reason. A service manager (``Restart=on-failure``) would take that for a success.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys


class ExitStatus:
    """The status with which this process ends, and the sentence that it ends with."""

    def __init__(self) -> None:
        self.sentence: str | None = None
        """What went wrong; None if nothing did."""

    def arm(self) -> None:
        """Look at :attr:`sentence` when the interpreter ends, after all that is registered later."""
        atexit.register(self._end)

    def _end(self) -> None:
        if self.sentence is None:
            return
        if sys.__stderr__ is not None:
            with contextlib.suppress(OSError, ValueError):
                print(f"echobench: {self.sentence}", file=sys.__stderr__)
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()  # type: ignore[union-attr]
        os._exit(1)

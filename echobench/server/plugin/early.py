"""Lets SIGINT end the program without a traceback before the reactor handles it.

Until then Python raises KeyboardInterrupt, wherever the program is: Twisted logs it as an error of whatever it was
doing, or Python prints a traceback. The system's own way ends the program at once, with the same status.
"""

from __future__ import annotations

import signal
import sys
import threading
from importlib import import_module
from typing import Any


def plain_interrupts() -> None:
    """Take the system's handling of SIGINT, if Python's is in place.

    Does nothing under a reactor that runs, or in another thread.
    """
    running = getattr(sys.modules.get("twisted.internet.reactor"), "running", False)
    if not running and threading.current_thread() is threading.main_thread():
        _replace(signal.default_int_handler, signal.SIG_DFL)


def restore_interrupts() -> None:
    """Take Python's handling of SIGINT again; call it in the main thread."""
    if threading.current_thread() is threading.main_thread():
        _replace(signal.SIG_DFL, signal.default_int_handler)


def restore_when_the_reactor_starts() -> None:
    """Have it taken back as the last thing before the reactor installs its own handler.

    Twisted installs none over one that is not Python's.
    """
    reactor: Any = import_module("twisted.internet.reactor")
    reactor.addSystemEventTrigger("before", "startup", restore_interrupts)


def _replace(old: Any, new: Any) -> None:
    if signal.getsignal(signal.SIGINT) == old:
        signal.signal(signal.SIGINT, new)

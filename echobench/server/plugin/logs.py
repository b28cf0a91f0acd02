"""The log as JSON, one object a line, for programs that read it."""

from __future__ import annotations

import datetime
import json
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

from twisted.logger import FileLogObserver, ILogObserver, formatEvent
from twisted.python.logfile import LogFile
from twisted.python.usage import UsageError

FORMATS: Final = ("text", "json")
PLAIN: Final = (str, int, float, bool, type(None))
ENVELOPE: Final = frozenset({"message", "time", "isError", "system", "format", "event"})
"""Keys that Twisted adds for old observers, and the one that has a place of its own."""

_runners: list[Any] = []
"""The options of twistd, which hands none over when it asks for an observer."""


def line(event: Mapping[str, Any]) -> str:
    """Write an event of twisted.logger in a line.

    The object has ``time``, ``level``, ``event`` (null if it is not one of ours), ``logger`` and ``message``, the
    message's values by their names in ``values``, and ``traceback`` for a failure.
    """
    found: dict[str, Any] = {
        "time": datetime.datetime.fromtimestamp(event.get("log_time", 0), datetime.timezone.utc).isoformat(),
        "level": getattr(event.get("log_level"), "name", None),
        "event": event.get("event"),
        "logger": event.get("log_namespace"),
        "message": formatEvent(dict(event)),
    }
    given = {name: value for name, value in event.items() if not name.startswith("log_") and name not in ENVELOPE}
    if given:
        found["values"] = {name: value if isinstance(value, PLAIN) else str(value) for name, value in given.items()}
    if (failure := event.get("log_failure")) is not None:
        found["traceback"] = failure.getTraceback()
    return json.dumps(found) + "\n"


def json_observer(file: Any) -> ILogObserver:
    """Make an observer that writes to a text file."""
    observer: ILogObserver = FileLogObserver(file, line)
    return observer


def write_json(runner: Any) -> None:
    """Have a runner (the options of twistd or twist, not yet acted upon) write its log as JSON.

    Does nothing without a runner. Raises UsageError if it was told to log in another way.
    """
    if runner is None:
        return
    if "nodaemon" not in runner:  # twist
        runner["fileLogObserverFactory"] = json_observer
        return
    for option in ("logger", "syslog"):
        if runner.get(option):
            raise UsageError(f"--log-format json and twistd's --{option} cannot go together: drop one")
    _runners[:] = [runner]
    runner["logger"] = f"{__name__}.{twistd_observer.__name__}"


def twistd_observer() -> ILogObserver:
    """Make an observer that writes to what twistd was told to log to; it asks for this by name."""
    return json_observer(_file(_runners[-1]))


def _file(runner: Mapping[str, Any]) -> Any:
    """Open what twistd itself would log to, and begin a new file on SIGUSR1, as it does."""
    name = runner.get("logfile")
    if name == "-" or (runner.get("nodaemon") and not name):
        return sys.stdout
    file = LogFile.fromFullPath(name or "twistd.log")
    if hasattr(signal, "SIGUSR1") and not signal.getsignal(signal.SIGUSR1):

        def rotate(number: int, frame: object) -> None:
            from twisted.internet import reactor

            reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

        signal.signal(signal.SIGUSR1, rotate)
    return file

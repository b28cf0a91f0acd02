"""The reactor: its type, and the best one for each platform.

It must be installed while that is still possible.

Twisted's own default is epoll on Linux but poll on the BSDs and select on macOS and Windows: it never picks kqueue or
IOCP. A reactor can be installed once, before anything imports ``twisted.internet.reactor``; for a twistd plugin the
safe moment is the ``postOptions`` of its options, and for a ``.tac`` its first line.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
)
from twisted.logger import Logger

from .reactor_names import preferred

log = Logger()

_MODULES = {
    "epoll": "twisted.internet.epollreactor",
    "kqueue": "twisted.internet.kqreactor",
    "iocp": "twisted.internet.iocpreactor",
    "poll": "twisted.internet.pollreactor",
    "select": "twisted.internet.selectreactor",
}

_INSTALLED = "twisted.internet.reactor"


class Reactor(IReactorCore, IReactorFDSet, IReactorFromThreads, IReactorTCP, IReactorTime, IReactorUDP):
    """The calls of a reactor that are made here, for annotations.

    No reactor declares it.

    A reactor may lack IReactorFDSet (IOCP does), so ask watches_descriptors() before you use that part. Code that
    needs the time alone is annotated with IReactorTime.
    """


@attrs.frozen
class Choice:
    """The reactor in use, and why."""

    name: str
    """Short, as for ``twistd --reactor``; its class's name if it was installed before."""
    why: str
    """In words, for the log."""


def installed() -> Choice | None:
    """Return the installed reactor; None if there is none yet.

    An installed reactor cannot be changed.
    """
    reactor = sys.modules.get(_INSTALLED)
    if reactor is None:
        return None
    return Choice(type(reactor).__name__, "it was installed before echobench was asked")


def global_reactor() -> Any:
    """Return the reactor of this process; Twisted's default is installed if there is none yet."""
    return importlib.import_module(_INSTALLED)


def install_best_reactor(
    platform: str = sys.platform, importer: Callable[[str], Any] = importlib.import_module
) -> Choice:
    """Install this platform's best reactor, unless one is installed already.

    Logs which, and why.

    Call it before anything imports ``twisted.internet.reactor``. It leaves alone a reactor that ``twistd --reactor``
    or an earlier import has installed. Raises ImportError, naming all that was tried, if none works here.
    """
    choice = installed() or _install(preferred(platform), platform, importer)
    log.info("reactor: {choice.name} ({choice.why})", choice=choice, event="reactor_chosen")
    return choice


def _install(names: tuple[str, ...], platform: str, importer: Callable[[str], Any]) -> Choice:
    missing: list[str] = []
    for name in names:
        try:
            importer(_MODULES[name]).install()
        # A module that is not there, or a kernel that refuses: epoll_create may be filtered, pywin32 half installed.
        except (ImportError, AttributeError, OSError) as error:
            missing.append(f"{name} is not available here: {error}")
        else:
            return Choice(name, "; ".join([*missing, "next best"]) if missing else f"the best for {platform}")
    raise ImportError(f"no reactor for {platform}: {'; '.join(missing)}")

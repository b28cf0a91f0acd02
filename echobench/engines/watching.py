"""Whether a reactor can watch descriptors of ours."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorFDSet
from twisted.python.runtime import platform

from ..reactors import Reactor


def watches_descriptors(reactor: Reactor) -> bool:
    """Return whether a reactor can watch a descriptor of ours.

    IOCP cannot, nor can any reactor on Windows.
    """
    return not platform.isWindows() and IReactorFDSet.providedBy(reactor)

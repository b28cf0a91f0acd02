"""Which reactors can be handed a descriptor to watch."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorFDSet
from twisted.python.runtime import platform


def watches_descriptors(reactor: Any) -> bool:
    """Whether a reactor can be handed a descriptor of ours; IOCP cannot, nor any reactor on Windows."""
    return not platform.isWindows() and IReactorFDSet.providedBy(reactor)

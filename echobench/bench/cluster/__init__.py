"""One load from many machines: divided, begun together by the clock, watched, and merged into one result.

The *leader*, where the command runs, reaches the machines by an engine (``machines.py`` has the interface). On each
machine an *agent* runs the same generator as alone, for its part of the plan. It ends when nobody leads it any more.
"""

from __future__ import annotations

from ..load import LoadError


class ClusterError(LoadError):
    """Machines that cannot be used: none is there, they cannot be reached, or they run another version."""

"""What is left of lent buffers when the rings have failed."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.internet.task import Clock

from echobench.engines.ebb import ENOUGH, PERIOD
from echobench.engines.tcp.lending import Lending


def test_rings_that_failed_need_no_buffers_and_no_timer():
    """They may be closed by then, and their buffers gone: the look at the need must neither fail nor go on for ever."""
    clock = Clock()
    lending = Lending(SimpleNamespace(retired=True, receiving=set()), clock)
    lending._ebb.grew(4 * ENOUGH)
    for _ in range(5):
        clock.advance(PERIOD)
    assert clock.getDelayedCalls() == []

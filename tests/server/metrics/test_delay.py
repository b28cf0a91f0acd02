"""The reactor's delay: how late a timer is, by a clock that the test sets."""

from __future__ import annotations

from twisted.internet.task import Clock

from echobench.server.metrics.delay import PERIOD, Delays


def test_how_late_it_was_is_counted():
    clock, delays = Clock(), Delays()
    delays.start(clock)
    clock.advance(PERIOD)
    clock.advance(PERIOD + 0.2)
    assert delays.histogram.cumulative()[0] == (0.001, 1)
    assert delays.histogram.cumulative()[6:8] == [(0.1, 1), (0.25, 2)]
    assert round(delays.histogram.total, 6) == 0.2
    delays.stop()
    assert not clock.getDelayedCalls()


def test_each_look_is_told():
    told = []
    clock, delays = Clock(), Delays(lambda: told.append(round(delays.latest, 6)))
    delays.start(clock)
    for late in (0, 0.3, 0.1):
        clock.advance(PERIOD + late)
    assert told == [0, 0.3, 0.1]
    delays.stop()
    delays.stop()

"""Servers that take a known time: the latency that is reported is that time, and a stall is seen by all it hits.

What the machine adds to a delay is not known, but it never takes away: so from below there is no tolerance, and from
above there is one that the machine is given several attempts to keep (undisturbed.py).
"""

from __future__ import annotations

import numpy as np
import pytest
from rigs import truth
from rigs.blasting import UNHURRIED
from rigs.helpers import needs_linux
from rigs.truth import TCP, UDP, counted
from rigs.undisturbed import repeated, unless_disturbed

from echobench.bench.run.histogram import steps

pytestmark = [pytest.mark.slow, needs_linux]

MS = 1e6
BEST = 1.0 * MS  # what it may add to the luckiest message
BUSY = 5.0 * MS  # and to most of them
FINE = 0.1 / 100 + 1e-9  # what a step of a histogram may take away


def server_of(transport, behaviour):
    return UDP(behaviour) if transport == "udp" else TCP(behaviour)


@repeated
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(("delay", "count"), [(0.0001, 300), (0.001, 200), (0.01, 50), (0.1, 8)])
def test_a_delay(blast, transport, delay, count):
    with server_of(transport, truth.delay(delay)) as server:
        ran = blast(server.port, transport=transport, count=count, **UNHURRIED)
    assert ran.tally.from_intended.total == 0, "in the closed model nothing is due"
    histogram = ran.tally.from_send
    assert histogram.total == count
    assert histogram.least >= delay * 1e9
    assert histogram.sum >= count * delay * 1e9
    with unless_disturbed():
        assert histogram.least <= delay * 1e9 + BEST
        assert histogram.percentile(50) <= delay * 1e9 + BUSY


@repeated
def test_delays_do_not_add_up(blast):
    """Twenty under way at once, each 50 ms: the server answers them together, and none waits for another."""
    with UDP(truth.delay(0.05)) as server:
        ran = blast(server.port, transport="udp", count=100, window=20, **UNHURRIED)
    assert ran.tally.from_send.least >= 50 * MS
    with unless_disturbed():
        assert ran.tally.from_send.percentile(50) <= 50 * MS + BUSY
        assert ran.took < 1.0


@repeated
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_mixture(blast, transport):
    """Of 300 messages 270 take 1 ms, 27 take 10 and 3 take 100: the percentiles are those."""
    assert sorted(truth.mixture(b"", n)[0][0] for n in range(1, 101)) == [0.001] * 90 + [0.01] * 9 + [0.1]
    with server_of(transport, truth.mixture) as server:
        ran = blast(server.port, transport=transport, count=300, **UNHURRIED)
    latencies = ran.tally.from_send
    assert counted(ran.tally)["answered"] == 300
    assert above(latencies, 0.1) >= 3
    assert above(latencies, 0.01) >= 30
    assert latencies.least >= 1 * MS
    assert latencies.percentile(95) >= 10 * MS * (1 - FINE)
    assert latencies.percentile(100) >= 100 * MS
    with unless_disturbed():
        assert above(latencies, 0.1) == 3
        assert above(latencies, 0.01) <= 35  # a few of 1 ms become 10 now and then
        assert latencies.least <= 1 * MS + BEST
        assert latencies.percentile(50) <= 1 * MS + BUSY
        assert latencies.percentile(95) <= 10 * MS + BUSY
        assert latencies.percentile(100) <= 100 * MS + 10 * BUSY


def above(histogram, seconds):
    """How many values are as great as that, to within a step of the histogram."""
    return int(histogram.counts[int(steps(np.array([int(seconds * 1e9)]))[0]) :].sum())


RATE = 200.0
COUNT = 600  # three seconds
STALLED = 1.0


@repeated
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_stall_is_seen_by_all_that_were_due_in_it(blast, transport):
    """The server does nothing for one second from the 200th message on: coordinated omission, or not.

    A message due x seconds after the stall began is answered when it ends, 1 - x later. So as many are answered after
    more than 500 ms as were due in its first half: 0.5 s times the rate, 100. The first one and the last may fall on
    either side, and a busy machine delays the sends by some ms: one message is due every 5 ms.

    In the open loop messages are sent when they are due, whatever is under way; so from the send it looks the same.
    """
    with server_of(transport, truth.stall(200, STALLED)) as server:
        ran = blast(server.port, transport=transport, model="open", rate=RATE, count=COUNT, flows=2, **UNHURRIED)
    assert counted(ran.tally)["answered"] == COUNT
    assert ran.tally.from_intended.greatest >= 0.99 * STALLED * 1e9
    assert above(ran.tally.from_intended, 0.5) >= 100 - 4
    assert above(ran.tally.from_intended, 0.25) >= 150 - 4
    with unless_disturbed():
        for histogram, tolerance in ((ran.tally.from_intended, 4), (ran.tally.from_send, 10)):
            assert abs(above(histogram, 0.5) - 100) <= tolerance
            assert abs(above(histogram, 0.25) - 150) <= tolerance
            assert above(histogram, 1.0) <= 2


@repeated
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_closed_loop_hardly_sees_a_stall(blast, transport):
    """It waits for the answer as everybody does: one message is slow, of however many. That is what it measures."""
    with server_of(transport, truth.stall(200, STALLED)) as server:
        ran = blast(server.port, transport=transport, count=COUNT, **UNHURRIED)
    assert counted(ran.tally)["answered"] == COUNT
    assert above(ran.tally.from_send, 0.5) >= 1
    with unless_disturbed():
        assert above(ran.tally.from_send, 0.5) == 1


@repeated
def test_what_waits_for_others_is_late_from_its_time_and_not_from_its_send(blast):
    """64 messages of 64 KiB may be under way, and 200 are due within the stall: the other 136 wait here.

    From when they were due they are as late as the stall makes them. From when they were sent, which is after it, they
    are quick: only those that were out already are not, 64 at most. That is why both are kept.
    """
    with TCP(truth.stall(100, STALLED), 65536) as server:
        ran = blast(server.port, model="open", rate=RATE, count=400, size="65536", **UNHURRIED)
    assert counted(ran.tally) == {"answered": 400, "connections": 1}
    assert above(ran.tally.from_intended, 0.5) >= 100 - 10
    with unless_disturbed():
        assert abs(above(ran.tally.from_intended, 0.5) - 100) <= 10
        assert above(ran.tally.from_send, 0.5) <= 65
        assert abs(above(ran.tally.lateness, 0.2) - (COUNT // 3 - 64 - 40)) <= 15

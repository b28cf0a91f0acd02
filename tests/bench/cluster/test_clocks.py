"""How far a machine's clocks are ahead, from round trips of which each way takes its own time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echobench.bench.cluster.clocks import TRIES, measure

times = st.integers(0, 10**9)
apart = st.integers(-(10**15), 10**15)


class Wire:
    """A machine whose clocks are apart from ours, behind a wire on which each way takes as long as it is told."""

    def __init__(self, day, monotonic, ways):
        self.now, self.day, self.monotonic = 10**18, day, monotonic
        self.ways = iter(ways)

    def ours(self):
        return self.now, self.now - 7

    def ask(self):
        there, back = next(self.ways)
        self.now += there
        read = self.now + self.day, self.now - 7 + self.monotonic
        self.now += back
        return read


@given(apart, apart, st.lists(st.tuples(times, times), min_size=1, max_size=TRIES))
def test_it_is_right_to_within_its_error(day, monotonic, ways):
    wire = Wire(day, monotonic, ways)
    offset = measure(wire.ask, len(ways), wire.ours)
    assert abs(offset.monotonic - monotonic) <= offset.clock.error
    assert abs(offset.clock.ahead - day) <= offset.clock.error
    assert offset.clock.error == (min(map(sum, ways)) + 1) // 2
    assert offset.clock.tries == len(ways)
    assert abs(offset.there(500) - (500 + monotonic)) <= offset.clock.error


def test_the_fastest_of_many_counts():
    """One that waited on its way back says nothing of the clock."""
    wire = Wire(1_000_000, 5, [(100, 900_000), (120, 110), (100, 50_000)])
    offset = measure(wire.ask, 3, wire.ours)
    assert offset.clock.error == 115
    assert offset.monotonic == 10

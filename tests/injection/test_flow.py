"""A flow as a whole, and which flow gets which faults."""

from __future__ import annotations

import pytest

from echobench import Counters
from echobench.injection.dice import Dice
from echobench.injection.flow import PATIENCE, Injection
from echobench.injection.rules import read_rules
from echobench.injection.spoiling import End


def injection(*texts):
    counters = Counters()
    return Injection(read_rules(texts), counters), counters


def begin(*texts, transport="udp"):
    made, counters = injection(*texts)
    flow = made.flow(transport, 5000, 10.0)
    assert flow is not None
    return flow, counters


def test_the_counters_know_from_the_start_what_was_asked_for():
    _, counters = injection("tcp:drop=1%,seed=1", "udp:delay=1ms,seed=1")
    assert counters.snapshot().faults == {"drop": 0, "delay": 0}


@pytest.mark.parametrize(
    ("transport", "port", "faulty"),
    [("tcp", 5, True), ("udp", 5, True), ("tcp", 6, False), ("udp", 6, False), ("tcp", None, False), ("udp", 7, True)],
)
def test_who_gets_faults(transport, port, faulty):
    made, _ = injection("tcp@5:drop=1%,seed=1", "@6:none", "udp:drop=1%,seed=1")
    assert (made.flow(transport, port, 0.0) is not None) == faulty


def test_what_is_for_streams_only_leaves_datagrams_alone():
    made, _ = injection("reset=100%,close-after=1,seed=1")
    assert made.flow("udp", 5, 0.0) is None
    assert made.flow("tcp", 5, 0.0) is not None


def test_flows_are_numbered_for_each_rule_and_transport():
    """So the second connection from a range gets the same faults, whatever else the server has to do."""
    made, _ = injection("@1-9:drop=50%,seed=4", "drop=50%,seed=4")
    made.flow("udp", 1, 0.0)
    made.flow("tcp", 10, 0.0)
    first, second = made.flow("tcp", 1, 0.0), made.flow("tcp", 2, 0.0)
    for number, flow in enumerate((first, second), 1):
        dice = Dice(4, "tcp", number, "drop")
        assert flow is not None
        for _ in range(50):
            flow.receive(b"x", 0.0)
            assert flow.take(0.0) == ([] if dice() < 0.5 else [b"x"])


def test_an_answer_waits_to_be_overtaken_for_a_bounded_time():
    flow, counters = begin("reorder=100%,seed=1")
    flow.receive(b"1", 10.0)
    assert (flow.due(), flow.take(10.0)) == (pytest.approx(10.0 + PATIENCE), [])
    assert flow.held > 0
    assert flow.take(10.0 + PATIENCE) == [b"1"]
    assert (flow.held, flow.due(), counters.faults) == (0, None, {"reorder": 0})
    flow.receive(b"2", 11.0)
    flow.receive(b"3", 11.0 + PATIENCE / 2)
    assert flow.take(11.0 + PATIENCE / 2) == [b"3", b"2"]
    assert counters.faults == {"reorder": 1}


def test_the_end_of_the_input_lets_everything_go():
    flow, _ = begin("reorder=100%,delay=1s,seed=1", transport="tcp")
    flow.receive(b"1", 10.0)
    flow.finish(10.0)
    assert (flow.due(), flow.take(11.0)) == (11.0, [b"1"])


def test_a_reset_throws_away_what_waits():
    flow, counters = begin("delay=1s,reset=50%,seed=1", transport="tcp")
    while flow.end is None:
        flow.receive(b"x", 10.0)
    assert flow.end is End.RESET
    assert (flow.due(), flow.held) == (None, 0)
    assert counters.faults["discarded"] == counters.faults["delay"]


def test_what_is_thrown_away_is_counted():
    flow, counters = begin("delay=1s,reorder=100%,seed=1")
    for _ in range(3):
        flow.receive(b"x", 10.0)
    flow.discard()
    flow.discard()
    assert counters.faults == {"delay": 2, "reorder": 1, "discarded": 3}

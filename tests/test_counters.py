"""Snapshots add up."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench import Counters, Reason, Snapshot
from echobench.counters import Unsent, why_unsent
from echobench.server.stats import Reporter, line

NUMBERS = st.integers(0, 1 << 40)
SNAPSHOTS = st.builds(
    Snapshot,
    **{field.name: NUMBERS for field in attrs.fields(Snapshot) if field.name not in ("drops", "faults", "apart")},
    drops=st.dictionaries(st.sampled_from(Reason), st.integers(1, 1 << 40)),
    faults=st.dictionaries(st.sampled_from(["drop", "delay", "close-after"]), st.integers(1, 1 << 40)),
    apart=st.dictionaries(st.sampled_from(["tls reads", "udp ipv4 datagrams"]), st.integers(1, 1 << 40)),
)


@given(one=SNAPSHOTS, other=SNAPSHOTS)
def test_addition_and_subtraction_undo_each_other(one, other):
    assert one + other == other + one
    assert (one + other) - other == one
    assert one + Snapshot() == one


def test_a_snapshot_stays_as_it_was():
    counters = Counters()
    counters.drop(Reason.IDLE)
    before = counters.snapshot()
    counters.drop(Reason.IDLE, 2)
    counters.datagrams += 5
    assert before.drops == {Reason.IDLE: 1}
    assert (counters.snapshot() - before) == Snapshot(datagrams=5, drops={Reason.IDLE: 2})


def test_kernel_drops_of_closed_and_of_open_sockets_add_up():
    assert Counters(kernel_drops=3).snapshot(4).kernel_drops == 7


def test_what_is_counted_apart_is_in_the_sum_too():
    counters = Counters(connections=5, reads=7)
    counters.accepted["ipv4"] += 3
    tls = counters.part("tls")
    assert counters.part("tls") is tls
    tls.connections += 2
    tls.accepted["ipv6"] += 2
    tls.drop(Reason.IDLE)
    counters.drop(Reason.IDLE)
    found = counters.snapshot(1)
    assert (found.connections, found.reads, found.drops, found.kernel_drops) == (7, 7, {Reason.IDLE: 2}, 1)
    assert found.apart == {"tcp ipv4 connections": 3, "tls connections": 2, "tls ipv6 connections": 2}


def test_the_line():
    before = Snapshot(connections=9, open_connections=9, reads=100, drops={Reason.IDLE: 5})
    now = Snapshot(
        connections=20, open_connections=2, reads=300, stream_bytes=5000, datagrams=10, datagram_bytes=640,
        kernel_drops=7, drops={Reason.IDLE: 6, Reason.UDP_RATE: 2},
    )  # fmt: skip
    assert line(now, before, 2.0) == (
        "connections=2 reads/s=100 stream_bytes/s=2500 datagrams/s=5 datagram_bytes/s=320 "
        "drops=idle:1,kernel:7,udp_rate:2"
    )
    assert line(now, now, 1.0).endswith("drops=none")


def test_faults_are_in_the_line_if_there_can_be_any():
    counters = Counters()
    counters.fault("drop", 0)
    counters.fault("delay", 0)
    before = counters.snapshot()
    assert line(before, before, 1.0).endswith(" drops=none faults=none")
    counters.fault("drop", 2)
    now = counters.snapshot()
    assert now.faults == {"drop": 2, "delay": 0}
    assert line(now, before, 1.0).endswith(" drops=none faults=drop:2")
    assert (now - before).faults == {"drop": 2}
    assert (before + before).faults == {"drop": 0, "delay": 0}, "those that were asked for, also of several workers"


def test_the_first_report_only_begins():
    from twisted.logger import capturedLogs

    times, shots = iter([0.0, 2.0]), iter([Snapshot(), Snapshot(datagrams=8)])
    reporter = Reporter(lambda: next(shots), lambda: next(times))
    with capturedLogs() as logs:
        reporter()
        reporter()
    assert len(logs) == 1
    assert "datagrams/s=4 " in logs[0]["line"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unsent(Reason.NEIGHBOUR_UNKNOWN), Reason.NEIGHBOUR_UNKNOWN),
        (BlockingIOError(11, "full"), Reason.SEND_BUFFER_FULL),
        (PermissionError(1, "filtered"), Reason.SEND_FAILED),
        (ValueError("too long"), Reason.SEND_FAILED),
    ],
)
def test_why_a_datagram_was_not_sent(error, reason):
    assert why_unsent(error) is reason

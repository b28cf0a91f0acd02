"""Counters by queue and CPU: every driver's names, and what lies between two looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.cards import Driver, counts_of
from rigs.helpers import needs_linux

from echobench.host.nic import counts
from echobench.host.nic.counts import Counts, Cpu, Queue


@pytest.mark.parametrize(
    ("driver", "statistics"),
    [
        ("igb", [("rx_queue_0_packets", 5), ("rx_queue_0_bytes", 50), ("rx_queue_0_drops", 1), ("rx_packets", 9),
                 ("rx_queue_1_packets", 4), ("rx_queue_1_bytes", 40), ("rx_queue_1_drops", 1)]),
        ("mlx5", [("rx0_packets", 5), ("rx0_bytes", 50), ("rx0_drops", 1), ("rx1_packets", 4), ("rx1_bytes", 40),
                  ("rx1_drops", 1), ("rx0_xdp_packets", 77)]),
        ("i40e", [("rx-0.packets", 5), ("rx-0.bytes", 50), ("rx-0.drops", 1), ("rx-1.packets", 4), ("rx-1.bytes", 40),
                  ("rx-1.drops", 1), ("tx-0.packets", 77)]),
    ],
)  # fmt: skip
def test_names_of_drivers(driver, statistics):
    assert counts.by_name(statistics) == {0: Queue(5, 50, 1), 1: Queue(4, 40, 1)}, driver


def test_names_that_say_less():
    assert counts.by_name([("queue_0_rx_cnt", 5), ("queue_0_rx_bytes", 50)]) == {0: Queue(5, 50, None)}
    bnxt = [("[0]: rx_ucast_packets", 4), ("[0]: rx_mcast_packets", 1), ("[0]: rx_ucast_bytes", 50)]
    assert counts.by_name(bnxt) == {0: Queue(5, 50, None)}
    vmxnet3 = [("Tx Queue#", 0), ("Rx Queue#", 0), ("ucast pkts rx", 5), ("ucast bytes rx", 50), ("Rx Queue#", 1),
               ("ucast pkts rx", 4), ("mcast pkts rx", 1)]  # fmt: skip
    assert counts.by_name(vmxnet3) == {0: Queue(5, 50, None), 1: Queue(5, None, None)}


def test_drops_alone_are_no_packets():
    """veth has rx_queue_0_drops, and no packets: nothing may be said of its queues."""
    assert counts.by_name([("rx_queue_0_xdp_packets", 3), ("rx_queue_0_drops", 3)]) == {}


@given(st.lists(st.tuples(st.text(max_size=30), st.integers(0, 1 << 64)), max_size=20))
def test_any_names_can_be_read(statistics):
    counts.by_name(statistics)


def test_softnet():
    text = "0000000a 00000001 00000002 0 0 0 0 0 0 00000003 0 0 00000005 0 0\n0000000b 0 0\n"
    assert counts.softnet(text) == {5: Cpu(10, 1, 2, 3), 1: Cpu(11, 0, 0, 0)}


@given(st.text(max_size=200))
def test_any_text_is_read_as_softnet_or_not(text):
    for each in counts.softnet(text).values():
        assert all(number >= 0 for number in each)


def test_what_has_grown():
    before = Counts(time=1.0, queues={0: Queue(5, None, None)}, cpus={0: Cpu((1 << 32) - 1, 0, 0, 0)}, packets=5)
    after = Counts(time=3.0, queues={0: Queue(9, None, None), 1: Queue(2, 7, 0)}, cpus={0: Cpu(1, 0, 0, 0)}, packets=11)
    grown = counts.grown(before, after)
    assert grown.time == 2.0
    assert grown.queues == {0: Queue(4, None, None), 1: Queue(2, 7, 0)}
    assert grown.cpus == {0: Cpu(2, 0, 0, 0)}, "32 bits, which wrap"
    assert grown.packets == 6


def test_a_counter_that_was_reset():
    """Some drivers start anew with their queues."""
    assert counts.grown(counts_of(9, 9), counts_of(3, 12)).queues[0].packets == 3


@needs_linux
def test_a_driver_that_tells_by_its_own_names():
    taken = counts.take("lo", ask=Driver(statistics=[("rx_queue_0_packets", 5)]).ask)
    assert (taken.source, taken.queues) == ("driver", {0: Queue(5, None, None)})
    assert taken.cpus

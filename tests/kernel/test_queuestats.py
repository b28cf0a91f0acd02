"""Counters of queues by netlink: what the kernel writes is read, and nothing else."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux

from echobench.kernel import netlink, queuestats


def answer(**values):
    """Write an answer of the kernel; numbers have 4 bytes if they fit, as NLA_UINT has it."""
    kinds = {"interface": 1, "type": 2, "queue": 3, "packets": 8, "bytes": 9, "alloc": 12, "drops": 13}
    return b"".join(
        netlink.attribute(kinds[name], struct.pack("=I" if value < 1 << 32 else "=Q", value))
        for name, value in values.items()
    )


def test_an_answer_is_read():
    whole = answer(interface=3, type=0, queue=2, packets=1 << 40, bytes=5, alloc=1, drops=2)
    assert queuestats.read(whole, 3) == (2, 1 << 40, 5, 3)
    assert queuestats.read(answer(interface=3, type=0, queue=2, packets=7), 3) == (2, 7, None, None)


@pytest.mark.parametrize(
    "values",
    [
        {"interface": 4, "type": 0, "queue": 2, "packets": 7},  # another interface
        {"interface": 3, "type": 1, "queue": 2, "packets": 7},  # a transmit queue
        {"interface": 3, "type": 0, "queue": 2},
        {"interface": 3, "type": 0, "packets": 7},
        {},
    ],
)
def test_other_things_are_not_taken_for_a_receive_queue(values):
    assert queuestats.read(answer(**values), 3) is None


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data):
    found = queuestats.read(data, 1)
    assert found is None or found.queue >= 0


@needs_linux
def test_the_kernel_is_asked():
    """Loopback has no such counters; a kernel before 6.8 has no such question."""
    try:
        assert queuestats.receive_queues(socket.if_nametoindex("lo")) == []
    except OSError as error:
        pytest.skip(f"this kernel does not answer: {error}")

"""Completions turned into requests to send: by tables alone, without a ring, a socket or a system call."""

from __future__ import annotations

import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux

from echobench.engines.tcp.columns import LAST, PLAIN, plain_prefix, to_sends
from echobench.kernel import ring as k
from echobench.kernel.tables import Table

pytestmark = needs_linux
SIZE = 16
GOES_ON, ENDS = min(PLAIN), min(LAST)


def rings(found):
    """A ring of completions with those that were found, from its third place on; and one of requests, empty."""
    cqes, sqes = Table(k.CQE, SIZE), Table(k.SQE, SIZE)
    rx = types.SimpleNamespace(
        cqes=cqes, who=cqes.column("I", 0), result=cqes.column("i", 8), size_=cqes.column("I", 8),
        cqe_flags=cqes.column("H", 12), buffer=cqes.column("H", 14),
    )  # fmt: skip
    tx = types.SimpleNamespace(
        sqe_fd=sqes.column("I", 4), length=sqes.column("I", 24), addr_high=sqes.column("H", 18),
        index=memoryview(bytearray(4)).cast("I"), tail=0, queued=0,
    )  # fmt: skip
    for at, (fd, size, flags, buffer) in enumerate(found, 2):
        rx.who[at], rx.result[at], rx.cqe_flags[at], rx.buffer[at] = fd, size, flags, buffer
    return rx, tx


def turned(found, apart=()):
    rx, tx = rings(found)
    n = len(found)
    batch = to_sends(rx, tx, slice(2, 2 + n), slice(5, 5 + n), apart)
    return batch, tx


plain = st.lists(
    st.tuples(st.integers(0, 2**20), st.integers(1, 1 << 16), st.sampled_from([GOES_ON, ENDS]), st.integers(0, 65535)),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each[0],
)


@given(plain)
def test_each_completion_becomes_the_request_beside_it(found):
    batch, tx = turned(found, ({2**21}, set()))
    fds, sizes, _, numbers = map(list, zip(*found, strict=True))
    here = slice(5, 5 + len(found))
    assert (tx.sqe_fd[here].tolist(), tx.length[here].tolist(), tx.addr_high[here].tolist()) == (fds, sizes, numbers)
    assert (tx.index[0], tx.queued) == (len(found), len(found))
    assert (batch.fds, batch.sizes, batch.buffers.tolist()) == (fds, sizes, numbers)
    assert batch.ended == [fd for fd, _, flags, _ in found if flags == ENDS]
    assert plain_prefix(rings(found)[0], 2, len(found), ()) == len(found)


@pytest.mark.parametrize(
    ("wrong", "apart"),
    [
        ((7, 100, GOES_ON, 3), ()),  # a second message of one connection
        ((9, 100, GOES_ON, 3), ({9},)),  # one that is odd, or dying
        ((9, 0, 0, 0), ()),  # an end of file
        ((9, -104, k.CQE_F_MORE, 0), ()),  # an error
        ((9, 5, k.CQE_F_MORE, 0), ()),  # what has no buffer
    ],
)
def test_what_is_not_plain_leaves_everything_as_it_was(wrong, apart):
    found = [(7, 50, GOES_ON, 1), (8, 60, GOES_ON, 2), wrong, (11, 5, GOES_ON, 4)]
    batch, tx = turned(found, apart)
    assert batch is None
    assert (tx.queued, tx.index[0], any(tx.sqe_fd), any(tx.length)) == (0, 0, False, False)
    assert plain_prefix(rings(found)[0], 2, len(found), apart) == 2


def test_counting_a_prefix_costs_no_call_for_each_completion():
    rx, _ = rings([(fd, 100, GOES_ON, fd) for fd in range(8)])
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        counted = plain_prefix(rx, 2, 8, ({99}, {98}))
    finally:
        sys.setprofile(None)
    assert (counted, calls) == (8, ["plain_prefix"])

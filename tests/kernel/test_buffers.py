"""The buffers that are lent to io_uring, alone: no Twisted, no echo."""

from __future__ import annotations

import ctypes
import errno
import re
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.rings import PLAIN, needs_ring, receive, take

from echobench.kernel import buffers as b
from echobench.kernel import ring as k
from echobench.kernel.buffers import SPACING, LentBuffers
from echobench.kernel.ring import Ring

OP_NOP, OP_POLL_ADD = 0, 6  # linux/io_uring.h; the engines need neither


@needs_ring
def test_a_buffer_is_named_by_its_address(ring, pair):
    """The number that a completion brings is bytes 2 and 3 of the address; that is how a send finds the bytes."""
    ours, theirs = pair
    each = ring()
    buffers = LentBuffers(each, 4, 4096)
    buffers.lend(4)
    receive(each, ours)
    theirs.send(b"first")
    each.enter()
    theirs.send(b"second")
    each.enter()
    (_, size, flags, one), (_, _, _, two) = take(each)
    assert (size, flags & PLAIN) == (5, PLAIN)
    assert two == one + 1, "they come in the order in which they were lent"
    assert bytes(buffers.view(one)[:5]) == b"first"
    assert ctypes.string_at(buffers.base + (one << 16), 5) == b"first"
    assert ctypes.string_at(buffers.base + (two << 16), 6) == b"second"
    each.push(k.OP_SEND, ours.fileno(), 2, addr=buffers.base, length=6, op_flags=k.MSG_DONTWAIT)
    each.addr_high[(each.index[each.tail] - 1) & each.mask] = two
    each.enter()
    assert theirs.recv(100) == b"second"


@needs_ring
def test_when_all_are_in_use_the_receive_ends_and_nothing_is_lost(ring, pair):
    ours, theirs = pair
    each = ring(4, 16)
    buffers = LentBuffers(each, 4, 16)
    buffers.lend(2)
    receive(each, ours)
    theirs.send(bytes(range(40)))
    each.enter()
    first, second, third = take(each)
    assert (first[1], second[1]) == (16, 16)
    assert third[1:] == (-errno.ENOBUFS, 0, 0), "it brings no buffer, and is over"
    buffers.give_back(second[3])
    receive(each, ours)
    rest = take(each)
    assert rest[0][1:] == (8, rest[0][2], second[3])
    assert bytes(buffers.view(second[3])[:8]) == bytes(range(32, 40))
    assert bytes(buffers.view(first[3])) == bytes(range(16)), "one that was not given back is ours still"


@needs_ring
def test_an_end_of_file_brings_no_buffer(ring, pair):
    ours, theirs = pair
    each = ring()
    LentBuffers(each, 2, 64).lend(2)
    receive(each, ours)
    theirs.shutdown(socket.SHUT_WR)
    each.enter()
    assert take(each) == [(1, 0, 0, 0)]


@needs_ring
def test_no_more_are_lent_than_there_are(ring):
    buffers = LentBuffers(ring(), 4, 64)
    assert buffers.lent == 0
    buffers.lend(3)
    assert buffers.lent == 3
    buffers.lend(3)
    buffers.lend(3)
    assert buffers.lent == 4


@needs_ring
def test_a_number_of_buffers_that_is_no_power_of_two_is_an_error(ring):
    with pytest.raises(OSError, match="io_uring_register"):
        LentBuffers(ring(), 3, 64)


def shared():
    """Bytes of this process's own shared memory that are in use."""
    return int(re.search(r"RssShmem:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


@needs_ring
def test_what_is_not_lent_any_more_is_the_systems(ring, pair):
    ours, theirs = pair
    each = ring(4, 512)
    buffers = LentBuffers(each, 256, 1 << 16)
    buffers.lend(256)
    for i in range(256):
        buffers.view(buffers.first + i)[:] = bytes([i]) * (1 << 16)
    before = shared()
    buffers.shrink(16)
    assert buffers.lent == 16
    assert before - shared() == 240 << 16
    assert bytes(buffers.view(buffers.first + 15)[:3]) == b"\x0f" * 3, "of those that are lent nothing is touched"
    receive(each, ours)
    theirs.send(b"they are of use")
    each.enter()
    ((_, size, _, number),) = take(each)
    assert bytes(buffers.view(number)[:size]) == b"they are of use"
    buffers.lend(256)
    assert buffers.lent == 256


@needs_ring
def test_what_nobody_has_read_yet_is_not_touched(ring, pair):
    """The kernel may fill a buffer at any moment before it has forgotten them all."""
    ours, theirs = pair
    each = ring(4, 32)
    buffers = LentBuffers(each, 8, 4096)
    buffers.lend(8)
    receive(each, ours)
    messages = [b"message %d" % i for i in range(5)]
    for message in messages:
        theirs.send(message)
        each.enter()
    buffers.shrink(2)
    assert buffers.lent == 5
    found = take(each)
    assert [bytes(buffers.view(number)[:size]) for _, size, _, number in found] == messages
    theirs.send(b"later")
    each.enter()
    ((_, result, _, _),) = take(each)
    assert result == -errno.ENOBUFS, "all are in use"
    for *_, number in found:
        buffers.give_back(number)
    receive(each, ours)
    ((_, size, _, number),) = take(each)
    assert bytes(buffers.view(number)[:size]) == b"later"


@needs_ring
def test_buffers_that_cannot_be_registered_again_can_be_later(ring, pair, monkeypatch):
    ours, theirs = pair
    each = ring()
    buffers = LentBuffers(each, 4, 4096)
    buffers.lend(4)
    register = each.register

    def refused(what, argument, count):
        if what == k.REGISTER_PBUF_RING:
            raise OSError(errno.ENOMEM, "no memory")
        register(what, argument, count)

    monkeypatch.setattr(each, "register", refused)
    with pytest.raises(OSError, match="no memory"):
        buffers.shrink(2)
    assert not buffers.registered
    receive(each, ours)
    theirs.send(b"later")
    each.enter()
    ((_, result, _, _),) = take(each)
    assert result == -errno.ENOBUFS
    monkeypatch.undo()
    buffers.shrink(2)
    assert (buffers.registered, buffers.lent) == (True, 2)
    receive(each, ours)
    ((_, size, _, number),) = take(each)
    assert bytes(buffers.view(number)[:size]) == b"later"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("lend"), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("give one"), st.integers(0, 7)),
        st.tuples(st.just("give many"), st.integers(0, 8)),
        st.tuples(st.just("shrink"), st.integers(0, 8)),
    ),
    max_size=40,
)


@needs_ring
@given(STEPS)
def test_each_buffer_is_lent_to_one_message_at_a_time(any_request, steps):
    """Whatever is lent, taken and given back in whatever order, across the edge of the ring of buffers too."""
    count = 8
    each = Ring(4, 32)
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        buffers = LentBuffers(each, count, 64)
        held = {}  # what the buffers that we have been given hold
        number = 0

        def take_one():
            nonlocal number
            number += 1
            message = b"message %d" % number
            theirs.send(message)
            each.push(k.OP_RECV, ours.fileno(), number, sqe_flags=k.SQE_BUFFER_SELECT)
            each.enter()
            ((_, result, flags, buffer),) = take(each)
            if len(held) == buffers.lent:
                assert (result, flags) == (-errno.ENOBUFS, 0)
                assert ours.recv(100) == message
                return False
            assert flags & k.CQE_F_BUFFER
            assert buffer not in held, "it is lent while it is in use"
            assert bytes(buffers.view(buffer)[:result]) == message
            held[buffer] = message
            return True

        for step, n in steps:
            if step == "lend":
                buffers.lend(n)
            elif step == "shrink" and not held:
                buffers.shrink(n)
                assert buffers.lent <= n
            elif step == "take":
                for _ in range(n):
                    take_one()
            elif step == "give one" and held:
                buffer = sorted(held)[n % len(held)]
                del held[buffer]
                buffers.give_back(buffer)
            elif step == "give many":
                given_back = sorted(held, key=lambda buffer: hash((buffer, n)))[:n]
                for buffer in given_back:
                    del held[buffer]
                column = memoryview(bytearray(4 * len(given_back))).cast("H")[::2]  # every other: a strided column
                for i, buffer in enumerate(given_back):
                    column[i] = buffer
                buffers.give_back_all(column)
            for buffer, message in held.items():
                assert bytes(buffers.view(buffer)[: len(message)]) == message
        while take_one():
            pass
        assert len(held) == buffers.lent <= count, "none was lost"
    finally:
        each.close()
        ours.close()
        theirs.close()


class Registered:
    """Stands in for a ring that takes buffers."""

    def register(self, what, argument, count):
        self.asked = struct.unpack("=QIHHQQQ", argument)


@given(
    page=st.one_of(
        st.integers(1 << 4, 1 << 35),
        st.integers(-5000, 5000).map(lambda near: (3 << 20) + near),  # round about a multiple of 4 GiB
    ),
    count=st.sampled_from([1, 2, 16, 256]),
)
def test_wherever_the_memory_is_the_upper_half_of_all_addresses_is_one(page, count):
    start = page << 12
    ring = Registered()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(b, "address_of", lambda memory: start)
        buffers = LentBuffers(ring, count, 4096)  # type: ignore[arg-type]
    assert ring.asked[1:3] == (count, 0)
    assert buffers.base & 0xFFFFFFFF == 0
    first = buffers.base | buffers.first << 16
    assert start <= first
    assert first + count * SPACING <= start + len(buffers._memory)
    assert first >> 32 == (first + count * SPACING - 1) >> 32
    buffers.lend(count)
    # The bytes at that address are those that are seen as the buffer.
    buffers.view(buffers.first + count - 1)[0] = 0xA5
    assert buffers._memory[first - start + (count - 1) * SPACING] == 0xA5

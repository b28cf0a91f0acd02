"""io_uring and the buffers lent to it, alone: no Twisted, no echo."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
import threading
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rings import kernel_objects, mapped_rings, needs_ring

from echobench import kernel
from echobench.kernel import buffers as b
from echobench.kernel import calls
from echobench.kernel import ring as k
from echobench.kernel.buffers import SPACING, LentBuffers
from echobench.kernel.ring import Ring
from echobench.kernel.tables import address_of

OP_NOP, OP_POLL_ADD = 0, 6  # linux/io_uring.h; the engines need neither
PLAIN = k.CQE_F_BUFFER | k.CQE_F_MORE


@pytest.fixture
def ring():
    """Make rings, and close them after the test."""
    made = []

    def make(entries=4, completions=8):
        made.append(Ring(entries, completions))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def pair():
    """Two ends of a connection; the first does not block."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(5)
        yield ours, theirs


def take(ring):
    """The completions that are there: tuples of user_data, result, flags and buffer."""
    found = []
    for place in range(ring.ready()):
        at = (ring.index[ring.chead] + place) & ring.cmask
        who = ring.kind[at] << 32 | ring.who[at]
        found.append((who, ring.result[at], ring.cqe_flags[at], ring.buffer[at]))
    ring.index[ring.chead] = (ring.index[ring.chead] + len(found)) & k.U32
    return found


def receive(ring, sock, who=1):
    ring.push(k.OP_RECV, sock.fileno(), who, sqe_flags=k.SQE_BUFFER_SELECT, ioprio=k.RECV_MULTISHOT)
    ring.enter()


@needs_ring
def test_a_send_and_its_completion(ring, pair):
    ours, theirs = pair
    each = ring()
    message = bytearray(b"through the ring")
    who = 0x1234567890ABCDEF
    each.push(k.OP_SEND, ours.fileno(), who, addr=address_of(message), length=len(message), op_flags=k.MSG_DONTWAIT)
    assert (each.queued, each.ready()) == (1, 0), "nothing happens before it is handed over"
    each.enter()
    assert each.queued == 0
    assert take(each) == [(who, len(message), 0, 0)]
    assert theirs.recv(100) == message
    assert each.ready() == 0


@needs_ring
def test_what_a_request_held_before_does_not_stay_in_it(ring, pair):
    """A place in the ring is used again and again, by requests of other kinds."""
    ours, _ = pair
    each = ring(1, 2)
    for _ in range(2):
        each.push(OP_POLL_ADD, ours.fileno(), 7, op_flags=4, optlen=3, ioprio=0, sqe_flags=0)
        each.enter()
        assert take(each) == [(7, 4, 0, 0)]
        each.requests.bytes[:] = b"\xff" * 64
    each.push(k.OP_SEND, ours.fileno(), 8, op_flags=k.MSG_DONTWAIT)
    each.enter()
    assert take(each) == [(8, 0, 0, 0)]


@needs_ring
def test_more_can_be_queued_than_the_ring_holds(ring, pair):
    ours, theirs = pair
    each = ring(4, 32)
    letters = bytearray(b"abcdefghijklmnopqrstu")
    for i in range(len(letters)):
        each.push(
            k.OP_SEND, ours.fileno(), i, addr=address_of(letters) + i, length=1, op_flags=k.MSG_DONTWAIT
        )  # fmt: skip
    each.enter()
    assert [who for who, *_ in take(each)] == list(range(len(letters)))
    assert theirs.recv(100) == letters


@needs_ring
def test_no_completion_is_lost_when_there_is_no_room_for_it(ring):
    """The kernel keeps what does not fit (FEAT_NODROP), and brings it when there is room again."""
    each = ring(4, 4)
    got = []
    for i in range(100):
        each.push(OP_NOP, -1, i)
    for _ in range(200):
        each.enter()
        assert each.ready() <= 4
        got += [who for who, *_ in take(each)]
    assert (got, each.queued) == (list(range(100)), 0)


@needs_ring
def test_over_many_turns_both_rings_wrap_around_and_keep_step(ring):
    each = ring(4, 4)
    number = 0
    for turn in range(1000):
        size = turn % 4 + 1
        for i in range(size):
            each.push(OP_NOP, -1, number + i)
        each.enter()
        assert [who for who, *_ in take(each)] == list(range(number, number + size))
        number += size
    assert each.index[each.tail] == each.index[each.ctail] == number


def test_counting_goes_on_past_the_last_number():
    each = Ring.__new__(Ring)
    each.index, each.chead, each.ctail, each.fd = memoryview(bytearray(8)).cast("I"), 0, 1, -1
    each.index[0], each.index[1] = 0xFFFFFFFE, 3
    assert each.ready() == 5


@needs_ring
def test_the_sizes_are_what_the_kernel_makes_of_them(ring):
    each = ring(5, 9)
    assert (each.size, each.completions, each.mask, each.cmask) == (8, 16, 7, 15)


@needs_ring
def test_closing_gives_everything_back():
    objects, maps = kernel_objects(), mapped_rings()
    each = Ring(8, 16)
    assert len(kernel_objects()) > len(objects)
    assert mapped_rings() > maps
    each.close()
    assert (kernel_objects(), mapped_rings()) == (objects, maps)
    each.close()
    with pytest.raises(AttributeError):
        each.enter()


@needs_ring
@pytest.mark.parametrize(("entries", "completions"), [(0, 8), (4, 2), (1 << 20, 1 << 21)])
def test_what_the_kernel_refuses_is_an_error(entries, completions):
    before = kernel_objects()
    with pytest.raises(OSError, match="io_uring_setup: Invalid argument") as caught:
        Ring(entries, completions)
    assert caught.value.errno == errno.EINVAL
    assert kernel_objects() == before


@needs_ring
def test_a_bad_registration_is_an_error(ring):
    with pytest.raises(OSError, match="io_uring_register") as caught:
        ring().register(9999, bytearray(8), 1)
    assert caught.value.errno == errno.EINVAL


@needs_ring
def test_a_request_that_cannot_be_carried_out_says_so_in_its_completion(ring):
    each = ring()
    each.push(k.OP_RECV, 99999, 5)
    each.enter()
    assert take(each) == [(5, -errno.EBADF, 0, 0)]


@needs_ring
def test_what_was_not_taken_stays_queued(ring):
    """The kernel takes requests up to the first that makes no sense, and leaves the others for the next call."""
    each = ring()
    for i, opcode in enumerate((OP_NOP, 250, OP_NOP)):
        each.push(opcode, -1, i)
    each.enter()
    assert each.queued == 1
    assert take(each) == [(0, 0, 0, 0), (1, -errno.EINVAL, 0, 0)]
    each.enter()
    assert (each.queued, take(each)) == (0, [(2, 0, 0, 0)])


@needs_ring
def test_a_descriptor_that_is_no_ring_any_more_is_an_error(ring):
    each = ring()
    real, each.fd = each.fd, -1
    with pytest.raises(OSError, match="io_uring_enter") as caught:
        each.enter()
    assert caught.value.errno == errno.EBADF
    each.fd = real


@needs_ring
def test_a_kernel_without_what_is_needed_is_told_from_its_features(monkeypatch):
    """Before Linux 5.5 completions could be lost; such a ring is given back at once."""

    def system_call(name):
        real = calls.system_call(name)

        def setup(entries, params):
            fd = real(entries, params)
            ctypes.c_uint32.from_address(params.value + 20).value &= ~k.FEAT_NODROP
            return fd

        return setup if name == "io_uring_setup" else real

    monkeypatch.setattr(k, "system_call", system_call)
    before = kernel_objects()
    with pytest.raises(OSError, match="too old") as caught:
        Ring(4, 8)
    assert caught.value.errno == errno.EINVAL
    del caught
    assert kernel_objects() == before


@needs_ring
def test_another_thread_is_refused_and_harms_nothing(ring):
    each = ring()
    each.push(OP_NOP, -1, 1)
    errors = []

    def elsewhere():
        try:
            each.enter()
        except OSError as error:
            errors.append(error.errno)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert errors == [errno.EEXIST]
    assert each.queued == 1
    each.enter()
    assert take(each) == [(1, 0, 0, 0)]


@needs_ring
def test_a_forked_process_is_refused_and_harms_nothing(ring):
    each = ring()
    each.push(OP_NOP, -1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the reactor has threads, which the child does not use
        child = os.fork()
    if child == 0:
        status = 1
        try:
            each.enter()
        except OSError as error:
            status = 0 if error.errno == errno.EEXIST else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert (each.queued, each.ready()) == (1, 0)
    each.enter()
    assert take(each) == [(1, 0, 0, 0)]


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


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("lend"), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("give one"), st.integers(0, 7)),
        st.tuples(st.just("give many"), st.integers(0, 8)),
    ),
    max_size=40,
)


@needs_ring
@given(STEPS)
def test_each_buffer_is_lent_to_one_message_at_a_time(steps):
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
    first = buffers.base | buffers._first << 16
    assert start <= first
    assert first + count * SPACING <= start + len(buffers._memory)
    assert first >> 32 == (first + count * SPACING - 1) >> 32
    buffers.lend(count)
    # The bytes at that address are those that are seen as the buffer.
    buffers.view(buffers._first + count - 1)[0] = 0xA5
    assert buffers._memory[first - start + (count - 1) * SPACING] == 0xA5


def test_nothing_is_missing_on_linux():
    if sys.platform != "linux" or sys.byteorder != "little" or sys.maxsize < 1 << 32:
        assert kernel.missing() is not None
    else:
        assert kernel.missing() is None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("platform", "darwin", "it needs Linux, and this is darwin"),
        ("platform", "win32", "it needs Linux, and this is win32"),
        ("byteorder", "big", "it needs a little-endian machine"),
        ("maxsize", (1 << 31) - 1, "it needs a 64-bit Python"),
    ],
)
def test_what_is_missing_elsewhere_is_said(monkeypatch, name, value, sentence):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "byteorder", "little")
    monkeypatch.setattr(sys, "maxsize", (1 << 63) - 1)
    monkeypatch.setattr(sys, name, value)
    assert kernel.missing() == sentence


def test_a_machine_whose_numbers_are_not_known_is_an_error(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(OSError, match="the number of the system call recvmmsg is not known for pdp11 machines"):
        calls.system_call("recvmmsg")

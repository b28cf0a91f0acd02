"""The rings of io_uring, alone: no Twisted, no echo."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import warnings

import pytest
from rigs.rings import kernel_objects, mapped_rings, needs_ring, take

from echobench.kernel import calls
from echobench.kernel import ring as k
from echobench.kernel.ring import Ring
from echobench.kernel.tables import address_of

OP_NOP, OP_POLL_ADD = 0, 6  # linux/io_uring.h; the engines need neither


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
    each.push(k.OP_SEND, 99999, 5, op_flags=k.MSG_DONTWAIT)
    each.enter()
    assert take(each) == [(5, -errno.EBADF, 0, 0)]


@needs_ring
@pytest.mark.parametrize(
    "request_", [(k.OP_SEND, {}), (k.OP_RECV, {}), (k.OP_RECV, {"op_flags": k.MSG_DONTWAIT}), (1, {})]
)
def test_what_a_worker_thread_could_complete_is_not_asked_for(ring, request_):
    """It would write completions beside us, and then barriers were needed."""
    opcode, flags = request_
    each = ring()
    with pytest.raises(AssertionError, match=f"request {opcode} may be completed by another thread"):
        each.push(opcode, 1, 0, **flags)
    assert each.queued == 0


@needs_ring
def test_what_was_not_taken_stays_queued(ring, any_request):
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

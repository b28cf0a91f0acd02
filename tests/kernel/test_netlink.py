"""Netlink's messages: what we write is read again, and what is no message does no harm."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rigs.helpers import needs_linux

from echobench.kernel import addresses, netlink
from echobench.kernel.addresses import Addresses
from echobench.kernel.neighbours import Hop, Neighbours

KIND = st.integers(3, 0xFFFF)
NUMBER = st.integers(0, 0xFFFFFFFF)
ATTRIBUTES = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=6)


def chain(messages):
    """Write messages behind each other, as the kernel does: each begins at a multiple of 4."""
    return b"".join(each + bytes(-len(each) % 4) for each in messages)


@given(st.lists(st.tuples(KIND, NUMBER, st.binary(max_size=40)), max_size=6))
def test_messages_are_read_as_they_were_written(wanted):
    data = chain(netlink.request(kind, body, sequence=sequence) for kind, sequence, body in wanted)
    assert list(netlink.messages(data)) == [(kind, netlink.REQUEST, number, body) for kind, number, body in wanted]


@given(ATTRIBUTES)
def test_attributes_are_read_as_they_were_written(wanted):
    assert list(netlink.attributes(b"".join(netlink.attribute(*each) for each in wanted))) == wanted


@given(ATTRIBUTES, st.integers(0, 300))
def test_attributes_that_are_cut_short_are_not_read(wanted, room):
    """Half an address would be taken for another one."""
    whole = b"".join(netlink.attribute(*each) for each in wanted)
    found = list(netlink.attributes(whole[:room]))
    assert found == wanted[: len(found)]
    assert len(found) == len(wanted) or room < len(whole)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.integers(0, 200))
def test_a_message_that_is_cut_short_has_the_body_that_there_is(bodies, room):
    whole = chain(netlink.request(30, body) for body in bodies)
    found = [each.body for each in netlink.messages(whole[:room])]
    assert found[:-1] == bodies[: len(found)][:-1]
    if found:
        assert bodies[len(found) - 1].startswith(found[-1])


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data):
    """It ends, and each piece lies in what was given: a length of 0 or of 4 GiB is no way out of it."""
    assert sum(16 + len(each.body) for each in netlink.messages(data)) <= len(data)
    assert sum(4 + len(value) for _, value in netlink.attributes(data)) <= len(data)


def test_lengths_that_lie():
    head = struct.Struct("=IHHII")
    for length in (0, 1, 15):
        assert list(netlink.messages(head.pack(length, 20, 0, 0, 0) * 2)) == []
    assert list(netlink.messages(head.pack(0xFFFFFFFF, 20, 0, 0, 0))) == [(20, 0, 0, b"")]
    for length in (0, 3, 9, 0xFFFF):
        assert list(netlink.attributes(struct.pack("=HH4s", length, 1, b"\x7f\0\0\1"))) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOENT])
def test_a_refusal_says_why(code):
    error = netlink.refusal(struct.pack("=i", -code) + bytes(16))
    assert error.errno == code
    assert errno.errorcode[code] in str(error)
    assert isinstance(error, FileNotFoundError) == (code == errno.ENOENT)


@given(st.binary(max_size=3))
def test_a_refusal_that_is_cut_short_is_one(body):
    assert netlink.refusal(body).errno == errno.EPROTO


class Telling:
    """A netlink socket whose kernel says ``data``, once."""

    def __init__(self, data):
        self.data = [data]

    def recvfrom(self, size):
        if not self.data:
            raise BlockingIOError
        return self.data.pop(), (0, 0)

    def recv(self, size):
        return self.recvfrom(size)[0]

    def send(self, data):
        return len(data)

    def close(self):
        pass


ABOUT = st.builds(
    lambda family, prefix, attributes: (
        struct.pack("=BBBBI", family, prefix, 0, 0, 1) + b"".join(netlink.attribute(*each) for each in attributes)
    ),
    st.sampled_from([socket.AF_INET, socket.AF_INET6, 0]),
    st.integers(0, 255),
    st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=20)), max_size=4),
)
ANSWERS = st.one_of(
    st.binary(),
    st.builds(
        lambda kind, body: netlink.request(kind, body, sequence=1),
        st.sampled_from([20, 21, 24, 26, 28]),
        st.one_of(st.binary(), ABOUT),
    ),
)


@needs_linux
@given(ANSWERS)
@example(netlink.request(20, struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, 1) + netlink.attribute(2, b"\x0a\0\0")))
def test_addresses_stand_whatever_is_said(data):
    made = Addresses()
    with made._socket:
        before = made.own
        made._socket = Telling(data)
        made.read()
        assert before <= made.own or data[4:6] == struct.pack("=H", addresses._DELADDR)
        assert {len(each) for each in made.own | made.broadcasts} <= {4, 16}


@needs_linux
@given(ANSWERS)
def test_nobody_is_refused_for_an_answer_that_is_none(data):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        made = Neighbours(sock)
    with made._sock:
        made._sock = Telling(data)
        assert made.hop(socket.inet_aton("192.0.2.1")) is Hop.KNOWN

"""The lesson's datagrams, on a fake transport."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import MessageLengthError

from echobench import EchoUDP, Guard, Reason


class Datagrams:
    """A UDP transport that keeps what is written, or raises."""

    def __init__(self, error=None):
        self.written, self.error = [], error

    def getHost(self):
        return IPv4Address("UDP", "0.0.0.0", 7007)

    def write(self, data, addr):
        if self.error is not None:
            raise self.error
        self.written.append((data, addr))


def udp(error=None, **options):
    protocol = EchoUDP(**options)
    protocol.makeConnection(Datagrams(error))
    return protocol


@given(data=st.binary(), port=st.integers(1024, 65535).filter(lambda port: port != 7007))
def test_a_datagram_goes_back_where_it_came_from(data, port):
    protocol = udp()
    protocol.datagramReceived(data, ("192.0.2.1", port))
    assert protocol.transport.written == [(data, ("192.0.2.1", port))]
    assert (protocol.counters.datagrams, protocol.counters.datagram_bytes) == (1, len(data))


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        (0, Reason.SOURCE_PORT_ZERO),
        (7, Reason.SOURCE_PORT_LOW),
        (1023, Reason.SOURCE_PORT_LOW),
        (7007, Reason.SOURCE_PORT_OWN),
    ],
)
def test_the_guard_is_asked(port, reason):
    protocol = udp(guard=Guard())
    protocol.datagramReceived(b"x", ("127.0.0.1", port))
    assert protocol.transport.written == []
    assert protocol.counters.drops == {reason: 1}
    assert protocol.counters.datagrams == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BlockingIOError(errno.EAGAIN, "full"), Reason.SEND_BUFFER_FULL),
        (PermissionError(errno.EPERM, "filtered"), Reason.SEND_FAILED),
        (ConnectionRefusedError(errno.ECONNREFUSED, "nobody there"), Reason.SEND_FAILED),
        (OSError(errno.ENETUNREACH, "no route"), Reason.SEND_FAILED),
        (MessageLengthError("too long"), Reason.SEND_FAILED),
    ],
)
def test_what_cannot_be_sent_is_counted(error, reason):
    protocol = udp(error)
    protocol.datagramReceived(b"x", ("127.0.0.1", 5000))
    assert protocol.counters.drops == {reason: 1}
    assert protocol.counters.datagrams == 0

"""What an inherited socket can serve, and what it cannot."""

from __future__ import annotations

import socket
import sys

import pytest
from rigs.helpers import has_ipv6, needs_linux

from echobench.server.inheritance import kind_of
from echobench.sockets import BindError

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such sockets")


def refused(sock, pattern, tls=False):
    with sock, pytest.raises(BindError, match=pattern) as caught:
        kind_of(sock, tls)
    assert "\n" not in str(caught.value)


def bound(family=socket.AF_INET, type_=socket.SOCK_STREAM, protocol=0, address=("127.0.0.1", 0), listen=False):
    try:
        sock = socket.socket(family, type_, protocol)
    except OSError as error:
        pytest.skip(f"this system has no such socket: {error}")
    if address is not None:
        sock.bind(address)
    if listen:
        sock.listen()
    return sock


def test_what_can_be_served():
    with bound(listen=True) as stream, bound(type_=socket.SOCK_DGRAM) as datagrams:
        assert kind_of(stream) == "tcp"
        assert kind_of(stream, tls=True) == "tls"
        assert kind_of(datagrams) == "udp"
    if has_ipv6():
        with bound(socket.AF_INET6, address=("::1", 0), listen=True) as stream:
            assert kind_of(stream) == "tcp"


@needs_posix
def test_a_unix_socket(tmp_path):
    with bound(socket.AF_UNIX, address=str(tmp_path / "s"), listen=True) as stream:
        assert (kind_of(stream), kind_of(stream, tls=True)) == ("tcp", "tls")
    refused(bound(socket.AF_UNIX, socket.SOCK_DGRAM, address=str(tmp_path / "d")), "not AF_UNIX SOCK_DGRAM$")


@needs_linux
def test_multipath_tcp():
    with bound(protocol=262, listen=True) as stream:
        assert kind_of(stream) == "tcp"


def test_a_stream_that_does_not_listen():
    refused(bound(), "a listening TCP or Unix socket or a UDP socket is needed, not AF_INET SOCK_STREAM$")


def test_datagrams_are_no_tls():
    refused(
        bound(type_=socket.SOCK_DGRAM), "a listening TCP or Unix socket is needed, not AF_INET SOCK_DGRAM$", tls=True
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_datagram_socket_without_a_port(host):
    """Its first answer would give it one that nobody knows; the server said that it was ready, on port 0."""
    if ":" in host and not has_ipv6():
        pytest.skip("this host has no IPv6")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    refused(bound(family, socket.SOCK_DGRAM, address=None), r"inherited descriptor \d+ is a UDP socket without a port")


@needs_linux
@pytest.mark.parametrize(
    ("made", "named"),
    [
        ((socket.AF_UNIX, socket.SOCK_SEQPACKET), "AF_UNIX SOCK_SEQPACKET"),
        ((getattr(socket, "AF_NETLINK", 16), socket.SOCK_RAW), "AF_NETLINK SOCK_RAW"),
        ((socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP), "AF_INET SOCK_DGRAM of protocol 1"),
        ((socket.AF_INET, socket.SOCK_STREAM, 132), "AF_INET SOCK_STREAM of protocol 132"),
    ],
)
def test_other_protocols(made, named):
    refused(bound(*made, address=None), f"needed, not {named}$")


class Foreign:
    """A listening stream socket of a family that this machine may not have, or that Python does not know."""

    type = socket.SOCK_STREAM

    def __init__(self, family):
        self.family = family

    def getsockopt(self, level, option):
        return {socket.SO_TYPE: socket.SOCK_STREAM, socket.SO_ACCEPTCONN: 1}.get(option, 0)

    def fileno(self):
        return 3


@pytest.mark.parametrize("family", [getattr(socket, "AF_VSOCK", 40), 99])
@pytest.mark.parametrize("tls", [False, True])
def test_listeners_of_other_families(family, tls):
    """Their peers have other addresses: a number and a port for vsock."""
    named = getattr(family, "name", f"address family {family}")
    with pytest.raises(BindError, match=f"inherited descriptor 3: a listening .* is needed, not {named} SOCK_STREAM$"):
        kind_of(Foreign(family), tls)

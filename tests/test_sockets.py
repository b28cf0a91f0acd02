"""Binding: both families, set explicitly; one number for all; nothing shared; sentences for what goes wrong."""

from __future__ import annotations

import errno
import re
import socket
import sys

import pytest
from rigs.helpers import has_ipv6, needs_linux
from twisted.logger import capturedLogs

from echobench.sockets import BindError, Spot, bind, bind_all, close_all

KINDS = ("tcp", "udp")


@pytest.fixture
def bound():
    made = []

    def keep(socks):
        made.extend(sock for sock in socks)
        return socks

    yield keep
    close_all(made)


def reaches(sock, host):
    """Whether a client of that family gets to the socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, sock.type & 0xF) as client:
        client.settimeout(1)
        try:
            client.connect((host, sock.getsockname()[1]))
            if client.type & 0xF == socket.SOCK_DGRAM:
                client.send(b"x")
                sock.settimeout(0.3)
                return sock.recv(10) == b"x"
        except OSError:
            return False
        return True


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
@pytest.mark.parametrize("kind", KINDS)
def test_one_socket_for_both_families(bound, kind):
    with capturedLogs() as logs:
        (sock,) = bound(bind(Spot(kind, None, 0)))
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0, "set explicitly, whatever bindv6only says"
    assert reaches(sock, "127.0.0.1")
    assert reaches(sock, "::1")
    assert [event["log_format"] for event in logs] == ["{spot}: one socket for IPv6 and IPv4"]


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
@pytest.mark.parametrize("kind", KINDS)
def test_two_sockets_where_one_cannot_do_both(bound, kind):
    with capturedLogs() as logs:
        six, four = bound([sock for _, sock in bind_all([Spot(kind, None, 0)], dual_stack=False)])
    assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert (six.family, four.family) == (socket.AF_INET6, socket.AF_INET)
    assert six.getsockname()[1] == four.getsockname()[1]
    assert reaches(six, "::1")
    assert not reaches(six, "127.0.0.1") or kind == "tcp"
    assert reaches(four, "127.0.0.1")
    assert "two sockets" in logs[0]["log_format"]


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_two_sockets_on_windows(bound, monkeypatch):
    """Where Twisted binds again, without knowing of both families."""
    monkeypatch.setattr("echobench.sockets.sys.platform", "win32")
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    made = bound([sock for _, sock in bind_all([Spot("tcp", None, 0)])])
    assert [sock.family for sock in made] == [socket.AF_INET6, socket.AF_INET]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dual_stack", [True, False])
def test_ipv4_alone_where_there_is_no_ipv6(bound, monkeypatch, kind, dual_stack):
    real = socket.socket

    class OnlyFour(real):
        def __init__(self, family=-1, *args, **kwargs):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", OnlyFour)
    with capturedLogs() as logs:
        (sock,) = bound(bind(Spot(kind, None, 0), dual_stack=dual_stack))
    assert sock.family == socket.AF_INET
    assert "IPv4 alone" in logs[0]["log_format"]


def test_an_address_of_one_family(bound):
    (four,) = bound(bind(Spot("tcp", "127.0.0.1", 0)))
    assert four.getsockname()[0] == "127.0.0.1"
    if has_ipv6():
        (six,) = bound(bind(Spot("udp", "::", 0)))
        assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1, ":: asks for IPv6"


def test_one_free_number_for_all(bound):
    spots = [Spot(kind, host, 0) for host in ("127.0.0.1", "127.0.0.2") for kind in KINDS]
    made = bind_all(spots)
    bound([sock for _, sock in made])
    assert [kind for kind, _ in made] == ["tcp", "udp", "tcp", "udp"]
    assert len({sock.getsockname()[1] for _, sock in made}) == 1


def test_a_number_that_is_free_for_tcp_alone_is_not_taken(bound, monkeypatch):
    """The number that TCP gets is in use for UDP, the first times."""
    taken = []
    real = socket.socket.bind

    def jealous(self, address):
        real(self, address)
        if self.type & 0xF == socket.SOCK_STREAM and len(taken) < 3:
            taken.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            real(taken[-1], ("127.0.0.1", self.getsockname()[1]))

    class Jealous(socket.socket):
        bind = jealous

    monkeypatch.setattr("echobench.sockets.socket.socket", Jealous)
    made = bind_all([Spot("tcp", "127.0.0.1", 0), Spot("udp", "127.0.0.1", 0)])
    bound([sock for _, sock in made])
    close_all(taken)
    assert len(taken) == 3
    assert len({sock.getsockname()[1] for _, sock in made}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_in_use(bound, kind):
    (first,) = bound(bind(Spot(kind, "127.0.0.1", 0)))
    port = first.getsockname()[1]
    for host in ("127.0.0.1", None):
        with pytest.raises(BindError, match=f"{kind.upper()} port {port}.* is in use by another program"):
            bind(Spot(kind, host, port))


def test_all_or_nothing(bound):
    host = "127.77.3.1" if sys.platform == "linux" else "127.0.0.1"  # where nobody else has the port for TCP
    (first,) = bound(bind(Spot("udp", host, 0)))
    port = first.getsockname()[1]
    with pytest.raises(BindError):
        bind_all([Spot("tcp", host, port), Spot("udp", host, port)])
    bound(bind(Spot("tcp", host, port)))


def test_a_port_may_be_taken_again_at_once(bound):
    """With connections of the last server still in TIME_WAIT."""
    (first,) = bind(Spot("tcp", "127.0.0.1", 0))
    port = first.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    first.setblocking(True)
    served, _ = first.accept()
    served.close()
    client.close()
    first.close()
    bound(bind(Spot("tcp", "127.0.0.1", port)))


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("192.0.2.77", "TCP port 7007 on 192.0.2.77: this machine has no such address"),
        ("2001:db8::77", "TCP port 7007 on 2001:db8::77: this machine has no such address"),
        ("eth77", "on eth77: that is not an address"),
        ("localhost", "on localhost: that is not an address"),
        ("fe80::1%nosuch", "on fe80::1%nosuch: the interface after the % is none of this machine's"),
        ("fe80::1%" + 64 * "e", "eeeeeeee: the interface after the % is none of this machine's"),
        ("fe80::1%", "on fe80::1%: that is not an address"),
        ("127.0.0.1%lo", "on 127.0.0.1%lo: that is not an address"),
        ("1.2.3.4.5", "on 1.2.3.4.5: that is not an address"),
        ("", "on '': that is not an address"),
        (" 127.0.0.1", "on  127.0.0.1: that is not an address"),
        ("127.0.0.1\nx", "on '127.0.0.1\\nx': that is not an address"),
        ("127.0.0.1\0", "on '127.0.0.1\\x00': that is not an address"),
        ("\udcff", "on '\\udcff': that is not an address"),
        ("\u0667.0.0.1", "on \u0667.0.0.1: that is not an address"),
        ("0", "on 0: that is not an address"),
        ("127.1", "on 127.1: that is not an address"),
        (64 * "a", "aaaaaaaa: that is not an address"),
        (3000 * "a", "aaaaaaaa': that is not an address"),
        ("::ffff:127.0.0.1", "that is an IPv4 address as IPv6 writes it: give 127.0.0.1"),
    ],
)
def test_addresses_that_are_not_here(host, sentence):
    with pytest.raises(BindError, match=re.escape(sentence)) as caught:
        bind(Spot("tcp", host, 7007))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("224.0.0.1", "multicast"),
        ("239.1.2.3", "multicast"),
        ("ff02::1", "multicast"),
        ("ff02::1%1", "multicast"),
        ("::ffff:224.0.0.1", "multicast"),
        pytest.param("127.255.255.255", "broadcast", marks=needs_linux),
        pytest.param("::ffff:127.255.255.255", "broadcast", marks=needs_linux),
        ("255.255.255.255", "broadcast"),
    ],
)
def test_addresses_of_groups(kind, host, what):
    """Linux would bind UDP to most of them, and the server would answer what was sent to all."""
    with pytest.raises(BindError, match=re.escape(f"{kind.upper()} port 7007 on {host}: that is a {what} address")):
        bind(Spot(kind, host, 7007))


def test_a_link_local_address_without_its_interface():
    if not has_ipv6():
        pytest.skip("this host has no IPv6")
    with pytest.raises(BindError, match="a link-local address needs its interface, such as fe80::1%eth0"):
        bind(Spot("tcp", "fe80::1", 7007))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Spot("tcp", "127.0.0.1", 0), Spot("tcp", "127.0.0.1", 0)),
        (Spot("udp", "127.0.0.1", 0), Spot("udp", "0.0.0.0", 0)),
        (Spot("udp", None, 0), Spot("udp", "127.0.0.1", 0)),
        (Spot("tcp", "::1", 0), Spot("tcp", "0:0:0:0:0:0:0:1", 0)),
        (Spot("tcp", "::1", 0), Spot("tcp", None, 0)),
    ],
    ids=str,
)
def test_an_address_given_twice_is_not_another_programs(bound, first, second):
    if not has_ipv6():
        pytest.skip("this host has no IPv6")
    (held,) = bound(bind(first))
    second = Spot(second.kind, second.host, held.getsockname()[1])
    with pytest.raises(BindError, match=re.escape(f"{second} is one that this server listens on already")):
        bind_all([second], held=[(first.kind, held)])
    first = Spot(first.kind, first.host, held.getsockname()[1])
    held.close()
    with pytest.raises(BindError, match=re.escape(f"{second} is one that this server listens on already")):
        bind_all([first, second])


def test_one_number_for_tcp_and_tls_is_no_other_programs(bound):
    (held,) = bound(bind(Spot("tcp", "127.0.0.1", 0)))
    number = held.getsockname()[1]
    with pytest.raises(BindError, match=f"TLS port {number} on 127.0.0.1 is this server's TCP port too"):
        bind_all([Spot("tls", "127.0.0.1", number)], held=[("tcp", held)])


def test_what_is_another_programs_is_not_ours(bound):
    """On another port, another address, another family, or over the other protocol."""
    (taken,) = bound(bind(Spot("tcp", "127.0.0.1", 0)))
    number = taken.getsockname()[1]
    ours = [("udp", bind(Spot("udp", "127.0.0.1", number))[0]), ("tcp", bind(Spot("tcp", "127.0.0.2", number))[0])]
    ours.append(("tcp", bind(Spot("tcp", "127.0.0.1", 0))[0]))
    if has_ipv6():
        ours.append(("tcp", bind(Spot("tcp", "::", number))[0]))
    bound([sock for _, sock in ours])
    with pytest.raises(BindError, match=f"TCP port {number} on 127.0.0.1 is in use by another program"):
        bind_all([Spot("tcp", "127.0.0.1", number)], held=ours)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_no_descriptor_left_is_no_lack_of_a_family(monkeypatch):
    def none_left(*args):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("echobench.sockets.socket.socket", none_left)
    with pytest.raises(BindError, match=r"TCP port 7007: no file descriptor is left \('ulimit -n' is \d+\): raise"):
        bind(Spot("tcp", None, 7007))


def test_without_privilege_the_three_ways_out_are_named(monkeypatch):
    def forbidden(self, address):
        raise PermissionError(errno.EACCES, "Permission denied")

    class Forbidden(socket.socket):
        bind = forbidden

    monkeypatch.setattr("echobench.sockets.socket.socket", Forbidden)
    with pytest.raises(BindError) as caught:
        bind(Spot("tcp", None, 7))
    sentence = str(caught.value)
    for way in ("root with --uid", "systemd socket", "port 7007"):
        assert way in sentence[:87], "a daemon's parent shows no more"


def test_a_receive_buffer_that_is_clipped_is_said_so(bound):
    with capturedLogs() as logs:
        bound(bind(Spot("udp", "127.0.0.1", 0), receive_buffer=1 << 30))
    (warning,) = [event for event in logs if event["log_level"].name == "warn"]
    assert warning["wanted"] == 1 << 30
    assert "net.core.rmem_max" in warning["log_format"]


def test_the_default_buffer_is_what_can_be_had_and_says_nothing(bound):
    with capturedLogs() as logs:
        (sock,) = bound(bind(Spot("udp", "127.0.0.1", 0)))
    assert not [event for event in logs if event["log_level"].name == "warn"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        usual = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= usual

"""UDP sockets that somebody else prepared, with options that an echo has no use for."""

from __future__ import annotations

import socket
import struct

import pytest
from rigs.helpers import blocking, datagram_client, has_ipv6, needs_linux, pattern, unanswered, until

from echobench import BindError, EchoService, Reason
from echobench.kernel.control import NOT_ASKED_FOR, UDP_GRO, UDP_SEGMENT

pytestmark = needs_linux

UDP_CORK = 1  # linux/udp.h
TIMESTAMP, TIMESTAMPING, RXQ_OVFL, RCVMARK = ((socket.SOL_SOCKET, option) for option in (29, 37, 40, 75))
WAYS = {
    "Timestamping=us": [(*TIMESTAMP, 1)],
    "drops": [(*RXQ_OVFL, 1)],
    "marks": [(*RCVMARK, 1)],
    "all that a socket can deliver": [
        (level, option, 0x18 if (level, option) == TIMESTAMPING else 1) for level, option in NOT_ASKED_FOR
    ],
    "trains": [(socket.IPPROTO_UDP, UDP_GRO, 1)],
    "answers cut up": [(socket.IPPROTO_UDP, UDP_SEGMENT, 7)],
    "answers held back": [(socket.IPPROTO_UDP, UDP_CORK, 1)],
    "both destinations": [(socket.IPPROTO_IP, 8, 1), (socket.IPPROTO_IPV6, 49, 1)],
}


def prepared(options, host="::"):
    """Bind a socket and give it these options, as far as this kernel has them."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, 0))
    taken = 0
    for level, option, value in options:
        try:
            sock.setsockopt(level, option, value)
        except OSError:  # of the other family, or of another kernel
            continue
        taken += 1
    if not taken:
        sock.close()
        pytest.skip("this kernel has none of these options")
    return sock


HOSTS = ["0.0.0.0", "127.0.0.1", *(["::", "::1"] if has_ipv6() else [])]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("way", WAYS)
def test_they_serve_like_any_other(serve, udp_engine, way, host):
    """What was queued before the server came, and what comes later: alone, as a burst, and as a train."""
    sock = prepared(WAYS[way], host)
    number = sock.getsockname()[1]
    asked = {"0.0.0.0": "127.0.0.2", "::": "127.0.0.2"}.get(host, host)
    with datagram_client(number, asked) as client:
        client.send(b"early")
        service = serve(None, inherited=[sock], udp_engine=udp_engine)

        def talk():
            got = [client.recv(1 << 16)]
            sent = [pattern(100 + i) for i in range(10)] + [pattern(1000)] * 3
            for data in sent:
                client.send(data)
            got += [client.recv(1 << 16) for _ in sent]
            client.sendmsg([pattern(1000)], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 100))])
            return got == [b"early", *sent], [client.recv(1 << 16) for _ in range(10)]

        whole, train = blocking(talk)
    assert whole
    assert train == [pattern(1000)[at : at + 100] for at in range(0, 1000, 100)]
    assert service.snapshot().datagrams == 24
    assert not service.snapshot().drops


@pytest.mark.parametrize("host", [host for host in HOSTS if host in ("::", "0.0.0.0")])
@pytest.mark.parametrize("way", ["Timestamping=us", "all that a socket can deliver"])
def test_groups_are_not_answered_by_them_either(serve, udp_engine, way, host):
    sock = prepared(WAYS[way], host)
    number = sock.getsockname()[1]
    service = serve(None, inherited=[sock], udp_engine=udp_engine)

    def client():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.sendto(b"all of you", ("127.255.255.255", number))
            return unanswered(client)

    assert blocking(client)
    assert service.snapshot().drops == {Reason.DESTINATION_GROUP: 1}


@pytest.mark.parametrize("host", [host for host in HOSTS if host in ("::", "0.0.0.0")])
def test_another_holder_asks_for_more_while_it_serves(serve, udp_engine, host):
    """Nobody tells the server. What fits no more is not answered at a guess, and then goes another way."""
    sock = prepared(WAYS["trains"], host)
    number = sock.getsockname()[1]
    asked = "127.0.0.2" if host == "0.0.0.0" else "::1"
    service = serve(None, inherited=[sock], udp_engine=udp_engine)
    with datagram_client(number, asked) as client:
        client.send(b"before")
        assert blocking(client.recv, 100) == b"before"
        for level, option, value in WAYS["all that a socket can deliver"]:
            if option not in (11, 25) or level == socket.SOL_SOCKET:  # RECVERR of either family: no control data
                try:
                    sock.setsockopt(level, option, value)
                except OSError:
                    continue
        client.send(b"meanwhile")
        until(lambda: service.snapshot().datagrams + sum(service.snapshot().drops.values()) == 2)
        assert set(service.snapshot().drops) <= {Reason.DESTINATION_UNKNOWN}
        client.setblocking(False)
        if service.snapshot().datagrams == 2:
            assert client.recv(100) == b"meanwhile"
        client.settimeout(20)
        for i in range(20):
            client.send(b"%d" % i)
        client.sendmsg([pattern(1000)], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 100))])
        came = blocking(lambda: [client.recv(1 << 16) for _ in range(30)])
    assert came[:20] == [b"%d" % i for i in range(20)]
    assert came[20:] == [pattern(1000)[at : at + 100] for at in range(0, 1000, 100)]


@pytest.mark.parametrize("group", ["224.0.0.251", "127.255.255.255", "255.255.255.255"])
def test_one_that_is_bound_to_a_group_is_refused(group):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((group, 0))
        kind = "multicast" if group.startswith("224") else "broadcast"
        with pytest.raises(BindError, match=f"on {group}: that is a {kind} address"):
            EchoService(None, inherited=[sock]).privilegedStartService()

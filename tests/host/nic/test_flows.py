"""Flows of packets that come in: what makes one, and packets that are cut short or are something else."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux, needs_root

from echobench.host.nic.flows import Flows, Sampler, flow

A, B = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"


def four(sport, dport=7, protocol=17, fragment=0, options=b""):
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 0, 0, fragment, 64, protocol, 0) + A + B + options
    return head + struct.pack("!HH", sport, dport) + b"data"


def six(sport, dport=7, protocol=17, more=b""):
    return struct.pack("!IHBB", 6 << 28, 0, protocol, 64) + A6 + B6 + more + struct.pack("!HH", sport, dport)


class Unbound(Sampler):
    """One that is given packets."""

    def __init__(self):
        self._seen, self._packets, self._fragments, self._socks = {}, {}, {}, []


def test_kinds_and_ports():
    assert flow(four(1000)) == ("udp4", A, B, (1000, 7))
    assert flow(four(1000, protocol=6)) == ("tcp4", A, B, (1000, 7))
    assert flow(four(1000, options=bytes(8))) == ("udp4", A, B, (1000, 7))
    assert flow(six(1000)) == ("udp6", A6, B6, (1000, 7))
    assert flow(six(1000, protocol=6)) == ("tcp6", A6, B6, (1000, 7))


def test_fragments_have_no_ports():
    assert flow(four(1000, fragment=0x2000)) == ("udp4", A, B, None)
    assert flow(four(1000, fragment=185)) == ("udp4", A, B, None)
    assert flow(four(1000, fragment=0x4000)) == ("udp4", A, B, (1000, 7)), "do not fragment"
    assert flow(six(1000, protocol=44, more=bytes([17]) + bytes(7))) == ("udp6", A6, B6, None)


def test_other_protocols_are_no_flows():
    assert flow(four(1000, protocol=1)) is None
    assert flow(bytes(40)) is None


@given(st.binary(max_size=100) | st.integers(0, 48).map(lambda end: four(1)[:end]))
def test_any_bytes_can_be_looked_at(packet):
    found = flow(packet)
    assert found is None or found.kind in ("udp4", "tcp4", "udp6", "tcp6")


def test_flows_are_counted_by_the_kind_of_most_packets():
    sampler = Unbound()
    assert sampler.flows() is None
    for number in range(64):
        sampler.add(four(1000 + number))
    for _ in range(10):
        sampler.add(six(1))
    sampler.add(four(1, fragment=100))
    assert sampler.flows() == Flows("udp4", 64, 1, 1)


@needs_linux
@needs_root
def test_a_socket_sees_what_comes_in():
    """On loopback, whose packets come in once although they also go out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        sampler = Sampler("lo")
        try:
            one.sendto(b"x", one.getsockname())
            one.recv(1)
            sampler.look()
            port = one.getsockname()[1]
            found = [each for each in sampler._seen["udp4"] if each.ports == (port, port)]
        finally:
            sampler.close()
    assert len(found) == 1

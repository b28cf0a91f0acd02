"""The filter against outsiders: the program, run by hand, and whether the kernel takes it."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux

from echobench.kernel import sockfilter
from echobench.kernel.sockfilter import LOOPBACK, MOST_INSTRUCTIONS, program, refuse_from_outside

ETHERNET = 2


def run(packed, source, interface=ETHERNET):
    """Run a program on a packet (Documentation/networking/filter.rst): whether it keeps it."""
    address = ipaddress.ip_address(source)
    if address.version == 4:
        header = bytes([0x45]) + bytes(11) + address.packed + bytes(4)
    else:
        header = bytes([0x60]) + bytes(7) + address.packed + bytes(16)
    code = [struct.unpack_from("=HBBI", packed, at) for at in range(0, len(packed), 8)]
    accumulator = at = 0
    while True:
        kind, true, false, operand = code[at]
        at += 1
        if kind in (0x20, 0x30):
            if operand == 0xFFFFF008:  # SKF_AD_OFF + SKF_AD_IFINDEX
                accumulator = interface
            else:
                offset = operand - 0xFFF00000  # SKF_NET_OFF
                assert 0 <= offset < 40
                accumulator = int.from_bytes(header[offset : offset + (4 if kind == 0x20 else 1)], "big")
        elif kind == 0x54:
            accumulator &= operand
        elif kind == 0x05:
            at += operand
        elif kind == 0x15:
            at += true if accumulator == operand else false
        else:
            assert kind == 0x06
            return bool(operand)


ADDRESSES = st.ip_addresses() | st.ip_addresses(network="fd99::/120") | st.ip_addresses(network="10.99.0.0/28")


def outside(address, own):
    mapped = getattr(address, "ipv4_mapped", None) is not None
    return address not in own and not address.is_loopback and not mapped


@given(st.sets(ADDRESSES, max_size=30), st.lists(ADDRESSES, max_size=30))
def test_it_refuses_own_addresses_from_outside_and_no_others(own, others):
    packed, left_out = program(address.packed for address in own)
    assert left_out == 0
    odd = map(ipaddress.ip_address, ["127.0.0.1", "127.255.0.1", "::1", "::", "::ffff:10.99.0.1", "::2", "128.0.0.1"])
    for address in [*own, *others, *odd]:
        assert run(packed, address) is outside(address, own), address
        assert run(packed, address, LOOPBACK), "what the host sends to itself"


def test_what_does_not_fit_is_left_out_and_the_rest_is_right():
    six = [ipaddress.ip_address(f"fd99::{i:x}") for i in range(1, 1000)]
    four = [ipaddress.ip_address(f"10.99.{i >> 8}.{i & 255}") for i in range(1, 1000)]
    packed, left_out = program(address.packed for address in [*four, *six])
    assert len(packed) <= 8 * MOST_INSTRUCTIONS
    known = [address for address in six if not run(packed, address)]
    assert len(known) > 400
    assert left_out == len(four) + len(six) - len(known)
    assert run(packed, "fd98::1")
    assert run(packed, "10.98.0.1")
    assert not run(packed, "127.0.0.1")
    packed, left_out = program(address.packed for address in four)
    assert not run(packed, "10.99.3.200")
    assert left_out == 0


@needs_linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("number", [0, 1, 5000])
def test_the_kernel_takes_it(family, number):
    own = [struct.pack("!4I", 0xFD990000, i, i, i) for i in range(number)]
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        pytest.skip(f"this host has no such sockets: {error}")
    with sock:
        for _ in range(2):
            assert (refuse_from_outside(sock, own) > 0) == (number > 1000)


@needs_linux
def test_what_the_kernel_does_not_take_at_all_is_an_error(monkeypatch):
    monkeypatch.setattr(sockfilter, "program", lambda *args: (b"\xff" * 8, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match="Invalid argument"):
        refuse_from_outside(sock, [])


@needs_linux
def test_a_datagram_within_the_host_comes_through_whole():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.socket(socket.AF_INET, sock.type) as client:
        sock.bind(("127.0.0.1", 0))
        refuse_from_outside(sock, [socket.inet_aton("127.0.0.1")])
        for size in (0, 1, 1472, 65507):
            client.sendto(bytes(size), sock.getsockname())
            assert len(sock.recv(1 << 16)) == size

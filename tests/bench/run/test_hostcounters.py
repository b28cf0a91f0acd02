"""The kernel's counters: read from its own files as they are, and as differences."""

from __future__ import annotations

import socket
import sys

import pytest
from rigs.helpers import wait_for

from echobench.bench.run import hostcounters
from echobench.bench.run.hostcounters import WANTED, read, server_receive_buffer, since

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
Udp: 100 2 3 101 4 5 6
UdpLite: InDatagrams NoPorts InErrors
UdpLite: 7 8 9
"""
NETSTAT = """\
TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 1 20 21
IpExt: InNoRoutes
IpExt: 0
"""
SNMP6 = "Ip6InReceives   \t3\nUdp6InErrors    \t30\nUdp6NoPorts  31\nUdp6RcvbufErrors  32\nUdp6SndbufErrors 33\n"


def files(folder, snmp=SNMP, netstat=NETSTAT, snmp6=SNMP6):
    for name, text in (("snmp", snmp), ("netstat", netstat), ("snmp6", snmp6)):
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_reading(tmp_path):
    assert read(files(tmp_path)) == {
        "UdpNoPorts": 2, "UdpInErrors": 3, "UdpRcvbufErrors": 4, "UdpSndbufErrors": 5,
        "TcpExtListenOverflows": 20, "TcpExtListenDrops": 21,
        "Udp6InErrors": 30, "Udp6NoPorts": 31, "Udp6RcvbufErrors": 32, "Udp6SndbufErrors": 33,
    }  # fmt: skip


def test_without_ipv6(tmp_path):
    found = read(files(tmp_path, snmp6=None))
    assert found is not None
    assert set(found) == {name for name in WANTED if not name.startswith("Udp6")}


@pytest.mark.parametrize(
    "broken", [{"snmp": None}, {"netstat": None}, {"snmp": "Udp: A B\nUdp: 1\n"}, {"snmp": "Udp: A\n"}]
)
def test_where_there_are_none(tmp_path, broken):
    assert read(files(tmp_path, **broken)) is None


def test_differences(monkeypatch):
    monkeypatch.setattr(hostcounters, "read", lambda: {"UdpNoPorts": 10, "UdpInErrors": 1})
    assert since({"UdpNoPorts": 7, "UdpInErrors": 1}) == {"UdpNoPorts": 3, "UdpInErrors": 0}
    assert since(None) is None
    monkeypatch.setattr(hostcounters, "read", lambda: None)
    assert since({"UdpNoPorts": 7}) is None


def test_whose_buffer():
    counters = {"UdpRcvbufErrors": 5, "Udp6RcvbufErrors": 7}
    assert server_receive_buffer(counters, 0) == 12
    assert server_receive_buffer(counters, 2) == 10
    assert server_receive_buffer(counters, 20) == 0, "both are read at slightly different times"
    assert server_receive_buffer(None, 2) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these counters")
@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", "UdpRcvbufErrors"), ("::1", "Udp6RcvbufErrors")])
def test_a_full_buffer_is_seen(host, name):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    before = read()
    with socket.socket(family, socket.SOCK_DGRAM) as full, socket.socket(family, socket.SOCK_DGRAM) as sender:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        try:
            full.bind((host, 0))
        except OSError:
            pytest.skip("this host has no IPv6")
        for _ in range(50):
            sender.sendto(bytes(1000), full.getsockname())
        wait_for(lambda: (since(before) or {})[name] > 10)

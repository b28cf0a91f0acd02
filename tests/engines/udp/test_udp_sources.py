"""Sources of every class of address: a batch refuses what the guard refuses, and no more."""

from __future__ import annotations

import importlib.util
import ipaddress
import socket
import struct
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echobench import Counters, Guard, Reason
from echobench.histograms import Histogram

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the batched engine needs Linux")

if sys.platform == "linux":
    from echobench.engines.udp import admission as admissions
    from echobench.engines.udp import batch as batches
    from echobench.engines.udp.batch import Batch, CountedBatch
    from echobench.kernel import messages

BROADCASTS = ["192.0.2.255", "198.51.100.63", "10.255.255.255"]

IPV4 = {
    "unspecified": st.just("0.0.0.0"),
    "own": st.sampled_from(["192.0.2.1", "127.0.0.1"]),
    "loopback": st.ip_addresses(network="127.0.0.0/8"),
    "multicast": st.ip_addresses(network="224.0.0.0/4"),
    "broadcast": st.sampled_from([*BROADCASTS, "255.255.255.255"]),
    "like a broadcast": st.sampled_from(["192.0.2.63", "198.51.100.255", "10.0.0.0", "255.255.255.254"]),
    "any": st.ip_addresses(v=4),
}
IPV6 = {
    "unspecified": st.just("::"),
    "own": st.sampled_from(["2001:db8::1", "fe80::1"]),
    "loopback": st.just("::1"),
    "multicast": st.ip_addresses(network="ff00::/8"),
    "ends in zero": st.sampled_from(["2001:db8::", "fe80::ff00", "::1:0"]),
    "any": st.ip_addresses(v=6),
}
FOUR = st.one_of(*IPV4.values()).map(str)
SIX = st.one_of(*IPV6.values(), FOUR.map("::ffff:{}".format)).map(str)
PORTS = st.sampled_from([5000, 5000, 5000, 5353, 7007, 19, 0])


def name(host, port, order="="):
    """Write a source as the kernel does: struct sockaddr_in6 or struct sockaddr_in (kernel/messages.py)."""
    if ":" in host:
        return struct.pack(f"{order}H2sI16sI4x", socket.AF_INET6, port.to_bytes(2, "big"), 0, packed(host), 0)
    return struct.pack(f"{order}H2s4s24x", socket.AF_INET, port.to_bytes(2, "big"), packed(host))


def packed(host):
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def guard(low=False):
    made = Guard({7007}, allow_low_source_ports=low)
    made.set_broadcasts(BROADCASTS)
    return made


def group(host):
    """Say by the standard library alone whether no host can have this address."""
    address = ipaddress.ip_address(host)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_multicast or address.is_unspecified or str(address) in [*BROADCASTS, "255.255.255.255"]


@given(st.one_of(FOUR, SIX))
def test_the_guard_knows_every_class(host):
    refused = guard().refuses_source(host, 5000)
    assert refused is (Reason.SOURCE_GROUP if group(host) else None)


@pytest.fixture(scope="module")
def batch():
    made = Batch(Guard(), Counters())
    made.sending.segments = (0,) * 64
    return made


@given(st.one_of(*(st.lists(st.tuples(hosts, PORTS), min_size=1, max_size=64) for hosts in (FOUR, SIX))), st.booleans())
@example([("::", 5353)], False)
@example([("2001:db8::9", 5000)] * 63 + [("::", 5353)], False)
@example([("::ffff:198.51.100.63", 5000)], False)
@example([("::ffff:224.0.0.1", 5000), ("::ffff:224.0.0.1", 5000)], False)
def test_a_batch_passes_if_the_guard_refuses_none_of_it(batch, sources, low):
    batch._guard = batch._admission._guard = rules = guard(low)
    for i, source in enumerate(sources):
        batch.messages.name_memory[32 * i : 32 * (i + 1)] = name(*source)
    refused = [rules.refuses_source(*source) for source in sources]
    for _ in range(2):  # what passed may be remembered
        if batch._admission.passes(len(sources)):
            assert not any(refused)
        else:  # a low port that is allowed may look as if it were not
            assert any(refused) or (low and any(port < 1024 for _, port in sources))
    kept = [i for first, end in batch._admission.choose(len(sources), {}) for i in range(first, end)]
    assert kept == [i for i, each in enumerate(refused) if each is None]


def test_what_passed_is_forgotten_when_the_rules_change(batch):
    batch._guard = batch._admission._guard = rules = guard()
    batch.messages.name_memory[:32] = name("203.0.113.255", 5000)
    assert batch._admission.passes(1)
    rules.set_broadcasts(["203.0.113.255"])
    assert not batch._admission.passes(1)
    rules.set_broadcasts([])
    assert batch._admission.passes(1)
    rules.add_own_port(5000)
    assert not batch._admission.passes(1)


def test_what_passed_is_bounded(batch, monkeypatch):
    monkeypatch.setattr(admissions, "PASSED_REMEMBERED", 10)
    batch._guard = batch._admission._guard = rules = guard()
    for port in range(5000, 5100):
        batch.messages.name_memory[:32] = name("203.0.113.1", port)
        assert batch._admission.passes(1)
        assert len(rules.passed) <= 10


def test_plain_batches_are_not_looked_at(batch, monkeypatch):
    batch._guard = batch._admission._guard = rules = guard()
    for i in range(64):
        batch.messages.name_memory[32 * i : 32 * (i + 1)] = name(f"2001:db8::{i + 100:x}", 50_000 + i)
    monkeypatch.setattr(rules, "refuses_source", lambda *args: pytest.fail("a message was looked at"))
    assert batch._admission.passes(64)


@pytest.mark.parametrize(("order", "mark"), [("little", "<"), ("big", ">")])
def test_families_are_told_apart_on_machines_of_either_byte_order(monkeypatch, order, mark):
    """The family is a number of two bytes, so its lower one is the first or the second."""
    monkeypatch.setattr(sys, "byteorder", order)
    spec = importlib.util.find_spec("echobench.kernel.messages")
    there = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(there)
    for module in (messages, batches, admissions):
        monkeypatch.setattr(module, "FAMILY", there.FAMILY)
    ipv4, ipv6, both = Counters(), Counters(), Counters()
    here = CountedBatch(guard(), both, Histogram((1.0,)), [ipv4, ipv6])
    for hosts, counters, refused in (
        (["203.0.113.1", "203.0.113.2"], ipv4, 0),
        (["::ffff:203.0.113.1"], ipv4, 0),
        (["2001:db8::1", "2001:db8::2"], ipv6, 0),
        (["2001:db8::1", "::ffff:203.0.113.1"], both, 0),
        (["2001:db8::1", "ff02::1"], ipv6, 1),
        (["203.0.113.1", "224.0.0.1"], ipv4, 1),
    ):
        for i, host in enumerate(hosts):
            here.messages.name_memory[32 * i : 32 * (i + 1)] = name(host, 5000, mark)
            if ":" in host:  # a flow label, which is where an address of IPv4 would be
                here.messages.name_memory[32 * i + 4 : 32 * i + 8] = b"\1\2\3\4"
            assert here.messages.source(i) == (host, 5000)
        assert here._of_family(len(hosts)) is counters, hosts
        assert here._admission.passes(len(hosts)) is not bool(refused), hosts
        assert here._admission._by_source([(0, len(hosts))]) == [(i, i + 1) for i in range(len(hosts))]

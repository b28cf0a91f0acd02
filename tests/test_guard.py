"""Who is answered, and how many."""

from __future__ import annotations

import ipaddress
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench import Caps, Guard, Reason
from echobench.guard import RateLimit, source_of

PORTS = st.integers(0, 65535) | st.integers(1000, 1300)  # the latter meet one another's bytes


def test_ports_that_are_not_answered():
    guard = Guard({7007})
    assert guard.refuses("127.0.0.1", 0) is Reason.SOURCE_PORT_ZERO
    assert guard.refuses("127.0.0.1", 1023) is Reason.SOURCE_PORT_LOW
    assert guard.refuses("::1", 7007) is Reason.SOURCE_PORT_OWN
    assert guard.refuses("127.0.0.1", 1024) is None
    guard.add_own_port(1024)
    assert guard.refuses("127.0.0.1", 1024) is Reason.SOURCE_PORT_OWN


def test_low_ports_can_be_allowed_but_never_0_nor_our_own():
    guard = Guard({7}, allow_low_source_ports=True)
    assert guard.refuses("127.0.0.1", 1) is None
    assert guard.refuses("127.0.0.1", 0) is Reason.SOURCE_PORT_ZERO
    assert guard.refuses("127.0.0.1", 7) is Reason.SOURCE_PORT_OWN


@pytest.mark.parametrize(
    "host",
    ["224.0.0.1", "239.255.255.255", "255.255.255.255", "0.0.0.0", "::", "ff02::1", "ff0e::1%2", "::ffff:224.0.0.1"],
)
def test_groups_are_not_answered(host):
    assert Guard().refuses(host, 5000) is Reason.SOURCE_GROUP


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.0.1", "10.0.0.1", "::1", "fe80::1%3", "::ffff:10.0.0.1", "2001:db8::1"]
)
def test_hosts_are_answered(host):
    assert Guard().refuses(host, 5000) is None


def test_what_counts_as_one_source():
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1")
    assert source_of("192.0.2.1").key != source_of("192.0.2.2").key
    assert source_of("192.0.2.1") == source_of(bytes([192, 0, 2, 1]))
    assert source_of("2001:db8::1").key == source_of("2001:db8::ffff:ffff:ffff:ffff").key
    assert source_of("2001:db8::1").key != source_of("2001:db8:0:1::1").key
    assert source_of("fe80::1%2").key == source_of("fe80::2%2").key


def test_a_link_local_source_is_one_of_its_link():
    """Every link has fe80::/64; a stranger on one must not take what is for a host on another."""
    assert source_of("fe80::1%2").key != source_of("fe80::1%3").key
    packed = ipaddress.ip_address("fe80::1").packed
    assert source_of(packed, 2) == source_of("fe80::1%2") == source_of("fe80::9", 2)
    assert source_of(packed, 3) != source_of(packed, 2)
    assert source_of("2001:db8::1", 2) == source_of("2001:db8::1"), "elsewhere the interface does not count"
    assert source_of("192.0.2.1", 2) == source_of("192.0.2.1")


@given(st.ip_addresses())
def test_every_address_has_a_source(address):
    source = source_of(str(address))
    assert source_of(address.packed) == source
    mapped = getattr(address, "ipv4_mapped", None) or address
    assert source.group == (
        mapped.is_multicast or mapped.is_unspecified or mapped == ipaddress.ip_address("255.255.255.255")
    )


@given(ports=st.lists(PORTS, max_size=64), own=st.frozensets(PORTS, max_size=3), low=st.booleans())
def test_the_batch_form_agrees_with_the_scalar_one(ports, own, low):
    """True must mean that the scalar form refuses none; and batches from high ports must not fall back to it."""
    guard = Guard(own, allow_low_source_ports=low)
    high, low_bytes = bytes(port >> 8 for port in ports), bytes(port & 0xFF for port in ports)
    if guard.passes_all(high, low_bytes):
        assert [guard.refuses("192.0.2.1", port) for port in ports] == [None] * len(ports)
    elif all(port >= 1024 and port not in own for port in ports):
        pytest.fail("a plain batch was not let pass")


class Time:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_bucket_empties_and_fills():
    time = Time()
    limit = RateLimit(10, 5, time)
    assert [limit.take("a") for _ in range(7)] == [1] * 5 + [0] * 2
    time.now += 0.1
    assert [limit.take("a"), limit.take("a")] == [1, 0]
    time.now += 100
    assert [limit.take("a") for _ in range(6)] == [1] * 5 + [0]
    assert limit.take("somebody else") == 1


EVENTS = st.lists(
    st.tuples(st.floats(0, 0.5), st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.integers(0, 200)), max_size=30
)


@given(rate=st.floats(0.5, 2_000_000), burst=st.floats(1, 100) | st.integers(1, 2_000_000), asked=EVENTS)
def test_many_at_once_get_what_one_after_the_other_would_get_at_that_instant(rate, burst, asked):
    time = Time()
    at_once, one_by_one = RateLimit(rate, burst, time), RateLimit(rate, burst, time)
    one_by_one._salt = at_once._salt
    for gap, source, events in asked:
        time.now += gap
        assert at_once.take(source, events) == sum(one_by_one.take(source) for _ in range(events))


def test_of_many_at_once_as_many_are_granted_as_there_are_tokens():
    time = Time()
    limit = RateLimit(10, 5, time)
    assert limit.take("a", 3) == 3
    assert limit.take("a", 64) == 2
    assert limit.take("a", 64) == 0
    time.now += 0.3
    assert limit.take("a", 64) == 3
    time.now += 1000
    assert limit.take("a", 1_000_000) == 5
    assert limit.take("a", 0) == 0


@given(rate=st.floats(0.5, 1_000_000), burst=st.integers(1, 1000), idle=st.floats(0, 100))
def test_never_less_than_a_burst_after_a_rest_and_the_rate_from_then_on(rate, burst, idle):
    time = Time()
    limit = RateLimit(rate, burst, time)
    time.now += idle
    assert limit.take("a", 10**9) == burst
    for _ in range(10):
        time.now += 1.001 / rate + 1e-9
        assert limit.take("a", 2) >= 1


@given(
    rate=st.floats(0.5, 1000),
    burst=st.floats(1, 100),
    gaps=st.lists(st.floats(0, 0.5), min_size=1, max_size=200),
)
def test_never_more_than_rate_times_time_and_a_burst(rate, burst, gaps):
    time = Time()
    limit = RateLimit(rate, burst, time)
    allowed = 0
    began = time.now
    for gap in gaps:
        time.now += gap
        allowed += limit.take("loop")
        assert allowed <= rate * (time.now - began) + burst + 0.011


def test_a_bucket_is_never_laxer_for_what_others_do():
    """Forged sources that share its bucket can only make it stricter."""
    time = Time()
    limit = RateLimit(10, 5, time)
    allowed = 0
    for i in range(20_000):
        limit.take(f"forged {i}")
        allowed += limit.take("loop")
        time.now += 0.0001
    assert allowed <= 10 * 2.0 + 5


def test_no_source_gets_more_for_having_two_buckets():
    time = Time()
    limit = RateLimit(10, 5, time)
    for source in map(str, range(200)):
        assert sum(limit.take(source) for _ in range(20)) <= 5
    limit.SLOTS = 2  # everybody shares both, or has one of them alone
    granted = 0
    for i in range(1000):
        limit.take(f"other {i % 7}")
        granted += limit.take("loop")
        time.now += 0.01
    assert granted <= 10 * 10 + 5


def test_forged_sources_leave_room_for_a_new_one():
    """31 Mbit/s of one-byte datagrams, each from another source, at the strictest rate that is usual."""
    time = Time()
    limit = RateLimit(1, 1, time)
    forged, tried, refused = 46_000, 0, 0
    for i in range(forged):
        limit.take(f"forged {i}")
        time.now += 1 / forged
        if i > 0.9 * forged and i % 20 == 0:
            tried += 1
            refused += not limit.take(f"honest {i}")
    assert tried > 200
    assert refused / tried < 0.05  # 0.8 % of them; with one bucket each and 65,536 in all it was 42 %


@pytest.mark.slow
def test_a_million_forged_sources_do_not_grow_the_tables():
    guard = Guard(rate=RateLimit(10, 10, lambda: 0.0))
    assert guard.rate is not None
    before = guard.rate._full_at.nbytes
    lengths = {name: len(value) for name, value in vars(guard).items() if hasattr(value, "__len__")}
    for i in range(1_000_000):
        guard.rate.take(str(i))
    for i in range(100_000):
        guard.refuses(f"{i >> 16}.{i >> 8 & 255}.{i & 255}.1", 5000)
    assert guard.rate._full_at.nbytes == before
    assert {name: len(value) for name, value in vars(guard).items() if hasattr(value, "__len__")} == lengths
    assert source_of.cache_info().currsize <= 4096


@pytest.mark.parametrize(("rate", "burst"), [(10, math.inf), (math.inf, 1), (math.inf, math.inf), (1e-3, 1e306)])
def test_without_end_grants_everything(rate, burst):
    time = Time()
    limit = RateLimit(rate, burst, time)
    for _ in range(3):
        assert [limit.take("a"), limit.take("a", 64)] == [1, 64]
        time.now += 1


@pytest.mark.parametrize(("rate", "burst"), [(0, 5), (-1, 5), (10, 0.5)])
def test_a_rate_that_makes_no_sense_is_refused(rate, burst):
    with pytest.raises(ValueError, match=f"{rate:g} and {burst:g}"):
        RateLimit(rate, burst, lambda: 0.0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=100))
def test_caps_keep_count(steps):
    caps = Caps(5, 2)
    held: list[str] = []
    for source, come in steps:
        if come:
            expected = (
                Reason.MAX_CONNECTIONS
                if len(held) >= 5
                else Reason.MAX_CONNECTIONS_PER_SOURCE
                if held.count(source) >= 2
                else None
            )
            assert caps.take(source) is expected
            if expected is None:
                held.append(source)
        elif source in held:
            held.remove(source)
            caps.release(source)
    for source in held:
        caps.release(source)
    assert (caps._taken, caps._by_source) == (0, {})


def test_places_are_taken_together_only_where_there_is_no_limit():
    assert not Caps(total=5).take_all(2)
    assert not Caps(per_source=5).take_all(2)
    caps = Caps()
    assert caps.take_all(3)
    caps.release("a")
    caps.release_all(2)
    assert caps._taken == 0

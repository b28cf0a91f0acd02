"""The structures of ethtool's ioctl: what a driver says is read, and what makes no sense ends in a sentence."""

from __future__ import annotations

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.cards import SDFN, Driver
from rigs.helpers import needs_linux

from echobench.kernel import card, ethtool

READERS = (
    card.driver, card.channels, card.rings, card.pause, card.coalescing, card.spreading, ethtool.statistics,
    ethtool.features, lambda ask: card.fields(ask, "udp4"),
)  # fmt: skip


def test_what_a_driver_says_is_read():
    ask = Driver(statistics=[("rx_queue_0_packets", 7), ("rx_missed_errors", 1 << 40)]).ask
    assert card.driver(ask) == ("igb", "6.12", "3.2", "0000:01:00.0")
    assert card.channels(ask)._asdict() == {
        "most_rx": 0, "most_tx": 0, "most_other": 1, "most_combined": 8, "rx": 0, "tx": 0, "other": 1, "combined": 4,
    }  # fmt: skip
    assert card.rings(ask) == (4096, 4096, 256, 512)
    assert card.pause(ask) == (True, True, False)
    assert card.coalescing(ask) == (3, 0, 5, 0, True, False)
    assert card.fields(ask, "udp4") == "sd"
    assert ethtool.statistics(ask) == [("rx_queue_0_packets", 7), ("rx_missed_errors", 1 << 40)]
    told = card.spreading(ask)
    assert told.function == "toeplitz"
    assert told.key == bytes(range(40))
    assert told.table == tuple(index % 4 for index in range(128))


def test_features_lie_in_several_blocks():
    found = ethtool.features(Driver(rxhash=False).ask)
    assert found["rx-gro"] == (True, True)
    assert found["rx-hashing"] == (False, True)
    assert found["rx-udp-gro-forwarding"] == (False, True)
    assert found["f5"] == (False, False)


def test_changes():
    driver = Driver()
    card.set_fields(driver.ask, "udp4", "sdfn")
    assert driver.hashed[2] == SDFN
    assert card.fields(driver.ask, "tcp4") == "sd"
    card.set_channels(driver.ask, 2)
    assert driver.queues == 2
    ethtool.set_feature(driver.ask, "rx-hashing", False)
    assert not driver.rxhash
    with pytest.raises(OSError, match="not supported"):
        ethtool.set_feature(driver.ask, "no-such-feature", True)


@given(st.sets(st.sampled_from(sorted(card.LETTERS))))
def test_letters_are_read_as_they_are_written(wanted):
    assert set(card.letters(card.bits_of("".join(wanted)))) == wanted


def test_bits_that_nobody_knows_are_refused():
    driver = Driver(hashed=1 << 20)
    with pytest.raises(OSError, match="cannot be understood: the fields of the hash are 0x100000"):
        card.fields(driver.ask, "udp4")


@given(st.sampled_from(READERS), st.lists(st.none() | st.binary(max_size=60) | st.integers(0, 300), max_size=5))
def test_any_answer_is_a_value_or_a_sentence(read, answers):
    """Truncated, or any bytes at all: never another exception."""
    driver = Driver(statistics=[("a", 1)])

    def ask(request):
        wrong = answers.pop() if answers else None
        answer = driver.ask(request)
        return wrong if isinstance(wrong, bytes) else answer[:wrong]

    with contextlib.suppress(OSError):
        read(ask)


@pytest.mark.parametrize("number", [ethtool.MOST + 1, (1 << 32) - 1])
def test_sizes_that_cannot_be_are_not_believed(number):
    def ask(request):
        command = ethtool.word(request)
        if command == ethtool.GSSET_INFO:
            return struct.pack("=IIQI", 0, 0, 2, number)
        return struct.pack("=IIIIBBxxI", 0, 0, number, 40, 1, 0, 0)

    for read in (ethtool.statistics, card.spreading):
        with pytest.raises(OSError, match=str(number)):
            read(ask)


def test_counters_that_changed_between_two_questions_are_not_read():
    """Else one queue's packets would be taken for another's."""
    driver = Driver(statistics=[("a", 1), ("b", 2)])

    def ask(request):
        if ethtool.word(request) == ethtool.GSTATS:
            return struct.pack("=II2Q", 0, 1, 5, 0)
        return driver.ask(request)

    with pytest.raises(OSError, match="1 counters with 2 names"):
        ethtool.statistics(ask)


@given(st.binary(max_size=40))
def test_names_are_printable(data):
    said = ethtool.text(data)
    assert said.isprintable()
    assert said.isascii()


@needs_linux
@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a\0b"])
def test_names_that_no_interface_can_have(name):
    with pytest.raises(OSError, match="No such device"):
        ethtool.Card(name)


@needs_linux
def test_the_kernel_answers_for_loopback():
    """A real request: loopback has offloads, and no hash."""
    own = ethtool.Card("lo")
    try:
        assert "rx-gro" in ethtool.features(own.ask)
        with pytest.raises(OSError) as raised:  # noqa: PT011 (the number says it)
            card.fields(own.ask, "udp4")
    finally:
        own.close()
    assert raised.value.errno == errno.EOPNOTSUPP

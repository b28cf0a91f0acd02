"""Changes to an interface, how they are undone, what is refused, and what counts as proof."""

from __future__ import annotations

import contextlib
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.cards import SDFN, Driver, a_picture, counts_of, flows_of

from echobench.host.facts import Facts
from echobench.host.nic import change, steering
from echobench.host.nic.change import Change, Setting, parse
from echobench.host.nic.counts import Cpu
from echobench.host.nic.proof import prove
from echobench.host.nic.spread import spread
from echobench.kernel import ethtool


@pytest.fixture
def host(tmp_path):
    """A host whose interface eth0 has two receive queues."""

    def make(*masks, caps="0000003fffffffff"):
        for index, mask in enumerate(masks):
            path = tmp_path / f"sys/class/net/eth0/queues/rx-{index}/rps_cpus"
            path.parent.mkdir(parents=True)
            path.write_text(mask)
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/status").write_text(f"Name:\tx\nCapEff:\t{caps}\n")
        return Facts(root=tmp_path)

    return make


def one(text, driver, facts=None):
    (made,) = change.apply("eth0", [parse(text)], facts, driver.ask)
    return made


def test_fields_and_how_they_are_undone():
    driver = Driver()
    made = one("udp4=sdfn", driver)
    assert driver.hashed[2] == SDFN
    assert (made.before, made.after) == ("sd", "sdfn")
    assert made.undo == ("echobench nic eth0 --apply udp4=sd",)
    assert one(made.undo[0].rpartition(" ")[2], driver).after == "sd"


def test_rxhash_and_channels():
    driver = Driver(rxhash=False)
    assert one("rxhash=on", driver).undo == ("echobench nic eth0 --apply rxhash=off",)
    assert driver.rxhash
    assert one("channels=2", driver).undo == ("echobench nic eth0 --apply channels=4",)
    assert driver.queues == 2


def test_rps(host, tmp_path):
    facts = host("0", "0")
    made = one("rps=3", Driver(), facts)
    assert (made.before, made.after) == ("0 0", "3 3")
    assert made.undo == ("echobench nic eth0 --apply rps=0",)


def test_rps_of_queues_that_differ(host):
    assert one("rps=3", Driver(), host("1", "2")).undo == (
        "echo 1 > /sys/class/net/eth0/queues/rx-0/rps_cpus",
        "echo 2 > /sys/class/net/eth0/queues/rx-1/rps_cpus",
    )


def test_nothing_changed_needs_no_undo():
    assert one("udp4=sd", Driver()).undo == ()


def test_what_was_none_cannot_be_brought_back():
    made = one("udp4=sd", Driver(hashed=0))
    assert (made.before, made.after, made.undo) == ("none", "sd", ())


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EPERM, "udp4=sdfn was refused: it needs root, or the capability CAP_NET_ADMIN"),
        (errno.EOPNOTSUPP, "udp4=sdfn was refused: the driver has no such setting"),
        (errno.EINVAL, "udp4=sdfn was refused: the driver does not take this value"),
        (errno.EIO, "udp4=sdfn was refused: refused"),
    ],
)
def test_refusals(number, sentence):
    driver = Driver()
    driver.refuses[ethtool.SRXFH] = number
    made = one("udp4=sdfn", driver)
    assert made.refused.startswith(sentence)
    assert made.undo == ()


def test_after_a_refusal_nothing_more_is_changed():
    driver = Driver()
    driver.refuses[ethtool.SRXFH] = errno.EINVAL
    made = change.apply("eth0", [parse("udp4=sdfn"), parse("channels=2")], None, driver.ask)
    assert len(made) == 1
    assert driver.queues == 4


def test_without_privilege_it_is_said_before_anything_is_watched(host):
    facts = host("0", caps="0000000000000000")
    assert "CAP_NET_ADMIN" in change.forbidden("eth0", [parse("udp4=sdfn")], facts)


def test_with_privilege_nothing_is_said(host):
    assert change.forbidden("eth0", [parse("udp4=sdfn"), parse("rps=1")], host("0")) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("udp4", "is no setting: give udp4=sdfn"),
        ("udp4=", "is no setting"),
        ("sctp4=sdfn", "is no setting"),
        ("udp4=sdxq", "'qx' is no field of a packet"),
        ("udp4=r", "throw these packets away"),
        ("rxhash=yes", "rxhash is on or off"),
        ("channels=0", "from 1 to 1024"),
        ("channels=x", "from 1 to 1024"),
        ("rps=xyz", "a mask of CPUs"),
        ("rps=" + "f" * 9000, "a mask of CPUs"),
    ],
)
def test_settings_that_make_no_sense(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_setting_or_a_sentence(text):
    with contextlib.suppress(ValueError):
        assert parse(text).name


@given(st.sets(st.integers(0, 200), min_size=1))
def test_masks_are_read_as_the_kernel_writes_them(cpus):
    digits = f"{sum(1 << each for each in cpus):x}"
    groups = [digits[max(0, end - 8) : end] for end in range(len(digits), 0, -8)]
    assert steering.mask(",".join(reversed(groups))) == cpus


@given(st.integers(1, 300))
def test_masks_are_written(cpus):
    assert steering.mask(steering.written(cpus)) == set(range(cpus))


def seen(*packets, flows=64, kind="udp4", cpus=(), hashed="sd"):
    return spread(a_picture(hashed=hashed), counts_of(*packets, cpus=cpus), flows_of(flows, kind))


ONE, EVEN = seen(3840, 0, 0, 0), seen(960, 960, 960, 960)
CHANGE = Change(setting="udp4=sdfn", before="sd", after="sdfn", undo=())


def proof(text="udp4=sdfn", before=ONE, after=EVEN, made=CHANGE):
    return prove(Setting(*text.split("=")), made, before, after)


def test_reading_back_is_no_proof():
    found = proof(before=None, after=None)
    assert found.state == "not proved"
    assert "the driver says sdfn, and no load has shown it: add --watch" in found.sentence


def test_counters_prove():
    found = proof()
    assert found.state == "proved"
    assert found.sentence == "packets by queue were [3840 0 0 0], and are [960 960 960 960]"
    assert proof("udp4=sd", EVEN, ONE).state == "proved"


def test_counters_disprove():
    assert proof(after=ONE).state == "disproved"
    assert proof("rxhash=on", after=ONE).state == "disproved"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (EVEN, EVEN, "no change that shows it"),
        (ONE, seen(20, 0, 0, 0), "20 packets came after"),
        (seen(3840, 0, 0, 0, flows=3), EVEN, "3 flows came before the change: too few for 4 queues"),
        (ONE, seen(960, 960, 960, 960, kind="tcp4"), "was tcp4, and not udp4"),
        (seen(3840), EVEN, "one queue at most"),
        (ONE, spread(a_picture(), counts_of(960, 960), None), "is not known: only root"),
    ],
)
def test_loads_that_show_nothing(before, after, sentence):
    found = proof(before=before, after=after)
    assert found.state == "not proved"
    assert sentence in found.sentence


def test_channels_are_proved_by_the_queues_that_are_used():
    assert proof("channels=2", EVEN, seen(1920, 1920)).state == "proved"
    assert proof("channels=2", EVEN, EVEN).state == "disproved"
    assert proof("channels=8", EVEN, EVEN).state == "not proved"


def test_rps_is_proved_by_what_cpus_hand_on():
    without, with_it = seen(3840, cpus=(Cpu(3840, 0, 0, 0),)), seen(3840, cpus=(Cpu(1, 0, 0, 1900),))
    assert proof("rps=f", without, with_it).state == "proved"
    assert proof("rps=f", without, without).state == "not proved"
    assert proof("rps=0", with_it, without).state == "proved"


def test_what_was_refused_is_not_proved():
    refused = Change(setting="udp4=sdfn", before="sd", after="sd", undo=(), refused="no")
    assert proof(made=refused).state == "not proved"

"""The verdict on a spread of packets, with the line that mends it, and what helps where a driver cannot."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.cards import a_picture, counts_of, flows_of

from echobench.host.nic import advice
from echobench.host.nic.counts import Cpu
from echobench.host.nic.spread import Spread, evenly, spread
from echobench.host.nic.steering import Receive

ONE = (3840, 0, 0, 0)


def verdict(picture, packets, flows=None, **more):
    return spread(picture, counts_of(*packets, **more), flows).verdict


def test_one_queue_because_the_hash_looks_at_addresses_only():
    found = verdict(a_picture(), ONE, flows_of(64))
    assert found.name == "one queue"
    assert found.sentence == (
        "queue 0 gets 100% of the packets although 64 flows came: the hash of udp4 looks at addresses only "
        "(IP SA, IP DA)"
    )
    assert found.mend == ("echobench nic eth0 --apply udp4=sdfn",)


def test_the_line_is_for_what_came():
    assert verdict(a_picture(), ONE, flows_of(64, "tcp6")).mend == ("echobench nic eth0 --apply tcp6=sdfn",)


def test_a_driver_that_lies():
    """virtio_net without rxhash accepts fields and keeps them for itself."""
    picture = a_picture("virtio_net", hashed="sdfn", offloads={"rx-hashing": False})
    found = verdict(picture, ONE, flows_of(64))
    assert "virtio_net tells the card nothing" in found.sentence
    assert found.mend == ("echobench nic eth0 --apply rxhash=on --apply udp4=sdfn",)


def test_ports_that_are_not_hashed_although_the_driver_says_so():
    found = verdict(a_picture(hashed="sdfn"), ONE, flows_of(64))
    assert "the card does not do so" in found.sentence
    assert found.mend == ("echobench nic eth0 --apply rps=f",)


def test_a_table_that_knows_one_queue():
    picture = a_picture(hashed="sdfn")
    picture = a_picture(hashed="sdfn", spreading=picture.spreading._replace(table=(2,) * 128))
    found = verdict(picture, (0, 0, 3840, 0), flows_of(64))
    assert "the card's table sends every hash to queue 2" in found.sentence
    assert found.mend == ("ethtool -X eth0 equal 4",)


def test_one_flow_is_nobodys_fault():
    found = verdict(a_picture(hashed="sdfn"), ONE, flows_of(1))
    assert (found.name, found.mend) == ("one flow", ())


def test_flows_that_nobody_looked_at():
    found = verdict(a_picture(), ONE)
    assert found.name == "one queue"
    assert "is not known" in found.sentence


def test_an_even_spread():
    found = verdict(a_picture(hashed="sdfn"), (960, 960, 960, 960), flows_of(64))
    assert found.name == "even"
    assert found.sentence == "4 queues get between 25% and 25% each of 64 flows: as even as these can be"
    assert found.mend == ()


def test_an_uneven_spread():
    found = verdict(a_picture(), (2400, 800, 640, 0), flows_of(64))
    assert found.name == "uneven"
    assert found.sentence.startswith("queue 0 gets 62%, where 25% would be its share")
    assert found.mend == ("echobench nic eth0 --apply udp4=sdfn",)


def test_chance_is_not_blamed():
    """8 flows over 4 queues are seldom even; 10,000 are."""
    assert evenly(4, 8) > 2
    assert evenly(4, 10_000) < 1.06
    assert verdict(a_picture(hashed="sdfn"), (1920, 960, 480, 480), flows_of(8)).name == "even"
    assert verdict(a_picture(hashed="sdfn"), (1920, 960, 480, 480), flows_of(10_000)).name == "uneven"


def test_too_few_packets():
    found = verdict(a_picture(), (50, 0, 0, 0), flows_of(50))
    assert found.name == "nothing"
    assert "50 packets came in over eth0 in 1.0 s" in found.sentence


def test_a_card_of_one_queue():
    found = verdict(a_picture(queues=1), (3840,), flows_of(64))
    assert (found.name, found.mend) == ("single queue", ("echobench nic eth0 --apply rps=f",))


def test_what_rps_does_already_is_not_asked_for():
    steered = a_picture(queues=1, receive=(Receive(0, "00000000,0000000f", 0),))
    found = verdict(steered, (3840,), flows_of(64))
    assert found.sentence.endswith("only RPS spreads its packets over CPUs, and it does")
    assert found.mend == ()
    assert "already" in advice.elsewise(steered)
    assert advice.rps(a_picture(receive=(Receive(0, "1", 0),))), "one CPU is no spread"
    assert advice.rps(a_picture(receive=(Receive(0, "not told", 0),)))


def test_loopback_is_no_card():
    found = verdict(a_picture(interface="lo", queues=1), (3840,), flows_of(64))
    assert found.sentence.startswith("loopback has no queues")
    assert found.mend == ()


def test_a_driver_that_tells_no_packets_by_queue():
    counts = counts_of(3840)
    found = spread(a_picture("mystery"), counts, flows_of(64)).verdict
    assert found.name == "untold"


def test_notes():
    cpus = (Cpu(3800, 5, 0, 0), Cpu(40, 0, 0, 0))
    even = (960, 960, 960, 960)
    found = verdict(a_picture(), even, flows_of(64, fragments=3), cpus=cpus, card={"rx_missed_errors": 2}).notes
    assert found[0].startswith("CPU 0 handles 99% of all packets of this host")
    assert "(CPU 0: 5): raise net.core.netdev_max_backlog" in found[1]
    assert found[2].startswith("rx_missed_errors grew by 2: the card had no room")
    assert "fragments" in found[3]
    assert verdict(a_picture(), ONE, flows_of(64), cpus=(3800, 40)).notes == (), "one queue has one CPU"


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (a_picture("veth", hashed=None, spreading=None), "veth is a virtual wire"),
        (a_picture("e1000e", hashed=None), "e1000e does not let its hash be changed"),
        (a_picture("vmxnet3", hashed=None), "from version 4"),
        (a_picture("sfc"), "Solarflare"),
        (a_picture("virtio_net", hashed="", spreading=None), "rss=on"),
        (a_picture("newcomer", hashed=None), "newcomer does not tell what it hashes of udp4"),
        (a_picture("igb", queues=1), "the card has one queue"),
    ],
)
def test_drivers_that_cannot(picture, sentence):
    assert sentence in advice.cannot(picture, "udp4")
    assert advice.line(picture, "udp4") == ("echobench nic eth0 --apply rps=f",)
    assert "blast --source" in advice.elsewise(picture)
    found = verdict(picture, (3840, 0), flows_of(64))
    assert found.name == "one queue"
    assert sentence in found.sentence


def test_drivers_that_can():
    assert advice.cannot(a_picture(), "udp4") is None
    assert advice.cannot(a_picture("sfc", hashed="sdfn"), "tcp4") is None
    assert advice.cannot(a_picture("vmxnet3"), "udp4") is None


def test_one_cpu_has_nothing_to_spread():
    assert advice.rps(a_picture(cpus=1)) == ()
    assert "one CPU" in advice.elsewise(a_picture(cpus=1))


packets = st.lists(st.integers(0, 1 << 40), max_size=9)


@given(packets, st.none() | st.builds(flows_of, st.integers(0, 1 << 14)), st.sampled_from(["", "sd", "sdfn", None]))
def test_every_spread_has_a_verdict_and_is_stored(packets, flows, hashed):
    made = spread(a_picture(hashed=hashed), counts_of(*packets, cpus=(5, 6)), flows)
    assert made.verdict.sentence
    assert Spread.from_dict(json.loads(json.dumps(made.as_dict()))) == made

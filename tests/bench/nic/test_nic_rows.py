"""The rows, the bars and the page: all of it is there, and what is not told says so."""

from __future__ import annotations

from rigs.blast_results import a_result
from rigs.cards import a_picture, counts_of, flows_of
from rigs.pages import said, tree

from echobench.bench.blast.page import blast_page
from echobench.bench.nic import rows
from echobench.bench.run.result import Result
from echobench.host.nic.counts import Cpu
from echobench.host.nic.spread import spread
from echobench.kernel.card import Coalescing, Pause, Rings

ONE = spread(
    a_picture(), counts_of(3840, 0, 0, 0, cpus=(Cpu(3840, 1, 2, 3), Cpu(0, 0, 0, 0)), seconds=3.0), flows_of(64)
)


def test_rows_of_queues_and_cpus():
    assert rows.queue_rows(ONE)[0] == ("rx-0", "3,840", "100.0%", "384,000", "not told")
    assert rows.cpu_rows(ONE)[0] == ("CPU 0", "3,840", "100.0%", "3", "1", "2")
    assert rows.came(ONE) == (
        "3,840 packets in 3.0 s over eth0; 64 flows, most of them udp4; counted by igb (its own statistics)"
    )


def test_bars():
    assert rows.bar(0.5, 10) == "#####"
    assert rows.bar(7.0, 10) == "##########"
    assert rows.bar(-1, 10) == ""


def test_facts():
    picture = a_picture(
        rings=Rings(4096, 4096, 256, 512),
        pause=Pause(True, True, False),
        coalescing=Coalescing(3, 0, 5, 0, True, False),
        speed=10_000,
    )
    said = dict(rows.facts(picture))
    assert said["rings"] == "rx 256 of 4096 packets, tx 512 of 4096"
    assert said["pause"] == "rx on, tx off, negotiated on"
    assert said["coalescing"] == "rx 3 µs or 0 packets (adaptive on), tx 5 µs or 0 packets (adaptive off)"
    assert said["speed"] == "10,000 Mbit/s"
    assert said["channels"] == "combined 4 of 8, other 1 of 1"
    assert said["table of queues"] == ("128 entries: queue 0 has 32, queue 1 has 32, queue 2 has 32, queue 3 has 32")
    assert said["hash key"].endswith("(40 bytes)")
    assert said["interrupts"] == "none"


def test_words_of_ethtool():
    said = dict(rows.facts(a_picture(hashed="sdfn")))
    assert said["hash of udp4"] == (
        "sdfn: IP SA, IP DA, L4 bytes 0 & 1 [TCP/UDP src port], L4 bytes 2 & 3 [TCP/UDP dst port]"
    )
    assert dict(rows.facts(a_picture(hashed="")))["hash of udp4"] == "None"


def test_remarks():
    assert rows.remarks(a_picture(hashed="sdfn")) == [
        "By what its driver says, ports are in the hash, and flows spread. See whether it is so: "
        "echobench nic eth0 --watch 5"
    ]
    mute = a_picture("virtio_net", hashed="sdfn", offloads={"rx-hashing": False})
    assert "--apply rxhash=on --apply udp4=sdfn" in rows.remarks(mute)[0]


def test_the_page_of_blast_has_the_section_only_if_it_was_asked_for():
    page = blast_page(a_result(nic=ONE))
    assert "Receive queues of eth0" in page
    assert "the hash of udp4 looks at addresses only" in said(tree(page))
    assert "<code>echobench nic eth0 --apply udp4=sdfn</code>" in page
    assert [each.text for each in tree(page).iter("strong") if "Packets by" in (each.text or "")] == [
        "Packets by receive queue", "Packets by CPU",
    ]  # fmt: skip
    assert "Receive queues" not in blast_page(a_result())


def test_a_result_without_the_option_is_stored_as_before():
    assert "nic" not in a_result().as_dict()
    stored = a_result(nic=ONE).as_dict()
    assert Result.from_dict(stored).nic == ONE

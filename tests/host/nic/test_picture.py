"""What the kernel tells of an interface, on hosts made of files with drivers of the tests' own."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.cards import Driver, Recorded

from echobench.host.facts import Facts
from echobench.host.nic import advice, counts, steering
from echobench.host.nic.picture import NicError, interfaces, look
from echobench.kernel import ethtool

ANSWERS = Path(__file__).with_name("answers")

INTERRUPTS = """           CPU0       CPU1
 24:          1          0  IO-APIC   5-edge      ACPI:Ged
 40:          7          0 PCI-MSIX-0000:01:00.0   0-edge      eth0
 41:         10         20 PCI-MSIX-0000:01:00.0   1-edge      eth0-TxRx-0
 42:          0          5 PCI-MSIX-0000:02:00.0   1-edge      eth01-TxRx-0
NMI:          3          4  Non-maskable interrupts
"""


@pytest.fixture
def host(tmp_path):
    files = {
        "sys/class/net/eth0/mtu": "1500", "sys/class/net/eth0/speed": "10000", "sys/class/net/eth0/operstate": "up",
        "sys/class/net/eth0/device/numa_node": "1", "sys/class/net/eth0/queues/rx-0/rps_cpus": "00000000,00000003",
        "sys/class/net/eth0/queues/rx-0/rps_flow_cnt": "4096", "sys/class/net/eth0/queues/rx-1/rps_cpus": "0",
        "sys/class/net/eth0/queues/tx-0/xps_cpus": "1", "sys/class/net/eth0/queues/tx-1/traffic_class": "0",
        "proc/interrupts": INTERRUPTS, "proc/irq/40/smp_affinity_list": "0-1",
        "proc/irq/41/smp_affinity_list": "0-1", "proc/irq/41/effective_affinity_list": "1",
        "proc/sys/net/core/rps_sock_flow_entries": "32768", "sys/class/net/lo/mtu": "65536",
    }  # fmt: skip
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Facts(root=tmp_path, cpus=2)


def test_everything(host):
    found = look("eth0", host, Driver().ask)
    assert (found.name, found.state, found.speed, found.mtu, found.node) == ("igb", "up", 10_000, 1500, 1)
    assert found.queues == 4
    assert found.hashed == dict.fromkeys(("tcp4", "udp4", "tcp6", "udp6"), "sd")
    assert found.spreading.function == "toeplitz"
    assert found.offloads == {"rx-gro": True, "rx-hashing": True, "rx-udp-gro-forwarding": False}
    assert found.changeable == {"rx-gro", "rx-hashing", "rx-udp-gro-forwarding"}
    assert found.interrupts == (
        (40, "eth0", "0-1", None, (7, 0)),
        (41, "eth0-TxRx-0", "0-1", "1", (10, 20)),
    )
    assert found.receive == ((0, "00000000,00000003", 4096), (1, "0", None))
    assert found.transmit == ((0, "1"), (1, None)), "one that gives no choice is not left out"
    assert found.flow_entries == 32768
    assert found.untold == {}
    json.dumps(found.as_dict())


@pytest.mark.parametrize("name", ["igb", "virtio"])
def test_answers_that_drivers_once_gave(host, name):
    """Of emulated cards of four queues, recorded by tests/qemu/spread.py."""
    driver = Recorded(ANSWERS / f"{name}.json")
    found = look("eth0", host, driver.ask)
    assert found.name == {"igb": "igb", "virtio": "virtio_net"}[name]
    assert found.channels.combined == found.queues == 4
    assert found.rings.rx == 256
    assert found.hashed["tcp4"] == "sdfn"
    assert found.hashed["udp4"] == {"igb": "sd", "virtio": "sdfn"}[name]
    assert set(found.spreading.table) == {0, 1, 2, 3}
    assert found.spreading.function == "toeplitz"
    assert (found.pause is None) == (name == "virtio")
    assert advice.is_mute(found) == (name == "virtio"), "rxhash is off, and virtio_net keeps what it is told to itself"
    assert set(counts.by_name(ethtool.statistics(driver.ask))) == ({0, 1, 2, 3} if name == "igb" else set())


def test_interrupts_of_the_device_whatever_their_names(host, tmp_path):
    """virtio names them after itself, and keeps them above its own device."""
    folder = tmp_path / "sys/class/net/lo/device/msi_irqs"
    folder.mkdir(parents=True)
    (folder / "24").touch()
    assert [each.name for each in steering.interrupts(host, "lo")] == ["ACPI:Ged"]


def test_a_driver_that_tells_nothing(host):
    def ask(request):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    found = look("lo", host, ask)
    assert found.driver is None
    assert found.hashed == dict.fromkeys(("tcp4", "udp4", "tcp6", "udp6"))
    assert found.queues == 1
    assert found.untold == {
        **dict.fromkeys(
            ("offloads", "driver", "channels", "rings", "pause", "coalescing", "spreading", "tcp4", "udp4", "tcp6",
             "udp6"), "the driver does not tell"),
        "speed": "the driver does not tell, or there is no link",
        "node": "the card belongs to no node, or the host has one only",
        "interrupts": "it has none of its own in /proc/interrupts",
    }  # fmt: skip


def test_answers_that_make_no_sense_are_said_to(host):
    driver = Driver(hashed=1 << 20)
    driver.refuses[ethtool.GCHANNELS] = errno.EIO
    found = look("eth0", host, driver.ask)
    assert found.untold["udp4"] == "its answer cannot be understood: the fields of the hash are 0x100000"
    assert found.untold["channels"] == "the kernel says: Input/output error"
    assert found.queues == 2, "those of the stack"


def test_an_empty_table_is_none(host):
    found = look("eth0", host, Driver(table=[]).ask)
    assert found.spreading is None
    assert found.untold["spreading"] == "the driver answers with an empty table"


@pytest.mark.parametrize("name", ["nope", "", "../../lo", "a" * 40])
def test_no_such_interface(host, name):
    with pytest.raises(NicError, match=r"there is no interface .* choose one of eth0, lo"):
        look(name, host, Driver().ask)


def test_interfaces(host):
    assert interfaces(host) == ["eth0", "lo"]


@given(st.text(max_size=300))
def test_any_table_of_interrupts_can_be_read(text):
    class Made(Facts):
        def text(self, path):
            return text

        def names(self, pattern):
            return []

    for each in steering.interrupts(Made(), "eth0"):
        assert each.number >= 0

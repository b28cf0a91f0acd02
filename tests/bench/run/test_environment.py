"""On what a run was made: found where it is, and None where it is not."""

from __future__ import annotations

import gzip
import json
import platform
import sys

import numpy as np
import pytest

import echobench
import twisted
from echobench.bench.run import environment
from echobench.bench.run.environment import accounting, describe, mtu


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine of files."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    for name, text in {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast CPU 3000\nflags\t: fpu hypervisor sse\n\nprocessor : 1\n",
        "etc/os-release": 'NAME=Some\nPRETTY_NAME="Some Linux 12 (x)"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "sys/devices/system/cpu/vulnerabilities/meltdown": "Not affected\n",
        "sys/devices/system/cpu/vulnerabilities/spectre_v2": "Mitigation: IBRS\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
        "sys/devices/system/node/node0/cpulist": "0\n",
        "sys/devices/system/node/node1/cpulist": "1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_a_machine_says(root):
    found = describe("127.0.0.1", True, root)
    assert found["cpu"] == "Fast CPU 3000"
    assert found["hypervisor"] is True
    assert found["distribution"] == "Some Linux 12 (x)"
    assert found["governor"] == "performance"
    assert found["mitigations"] == {"spectre_v2": "Mitigation: IBRS"}
    assert found["clock_source"] == "tsc"
    assert found["numa_nodes"] == 2
    assert found["loopback"] is True


def test_no_hypervisor(root):
    (root / "proc/cpuinfo").write_text("flags : fpu hypervisors\n")
    assert describe("127.0.0.1", False, root)["hypervisor"] is False


def test_a_machine_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    found = describe("127.0.0.1", False, tmp_path)
    for name in ("cpu", "hypervisor", "distribution", "governor", "mitigations", "clock_source", "numa_nodes",
                 "cpu_accounting"):  # fmt: skip
        assert found[name] is None, name
    json.dumps(found)


CONFIGURATION = """#
# Automatically generated file; DO NOT EDIT.
CONFIG_HZ_1000=y
CONFIG_HZ=1000
CONFIG_IRQ_TIME_ACCOUNTING=y
CONFIG_HAVE_IRQ_TIME_ACCOUNTING=y
# CONFIG_VIRT_CPU_ACCOUNTING_GEN is not set
"""


@pytest.mark.parametrize("place", ["proc/config.gz", "boot/config-6.1", "lib/modules/6.1/config"])
def test_how_cpu_time_is_accounted(root, place):
    """Whether softirqs are charged decides what an echo seems to cost."""
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    text = CONFIGURATION.encode()
    (root / place).write_bytes(gzip.compress(text) if place.endswith("gz") else text)
    found = accounting("6.1", root)
    assert (found["CONFIG_IRQ_TIME_ACCOUNTING"], found["CONFIG_HZ"]) == ("y", "1000")
    assert found["CONFIG_VIRT_CPU_ACCOUNTING_GEN"] == found["CONFIG_TICK_CPU_ACCOUNTING"] == "not set"
    assert "tsc" not in found
    (root / "proc/cmdline").write_text("quiet tsc=noirqtime nohz_full=1-3\n")
    (root / "sys/devices/system/cpu/nohz_full").write_text("1-3\n")
    assert (accounting("6.1", root)["tsc"], accounting("6.1", root)["nohz_full"]) == ("noirqtime", "1-3")


def test_a_configuration_that_is_no_gzip(root):
    (root / "proc/config.gz").write_bytes(b"no")
    assert accounting("6.1", root) is None


def test_this_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["echobench", "blast", "x"])
    found = describe("127.0.0.1", True)
    assert found["echobench"] == echobench.__version__
    assert found["twisted"] == twisted.__version__
    assert found["numpy"] == np.__version__
    assert found["python"].endswith(platform.python_version())
    assert found["command"] == ["echobench", "blast", "x"]
    assert found["kernel"] == platform.release()


@pytest.mark.skipif(sys.platform != "linux", reason="this test asks the Linux kernel")
def test_the_mtu():
    with open("/sys/class/net/lo/mtu") as file:
        assert mtu("127.0.0.1") == min(int(file.read()), 65535)  # no packet of IPv4 is longer
    assert mtu("nowhere.invalid") is None


def test_the_mtu_elsewhere(monkeypatch):
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    assert mtu("127.0.0.1") is None

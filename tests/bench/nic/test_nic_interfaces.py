"""Real interfaces, in namespaces that are made for the test: virtual wires, which have queues and no hash."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from rigs.helpers import LIMIT, is_root, program, wait_for
from rigs.places import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not is_root or shutil.which("ip") is None,
        reason="network namespaces need Linux, root and the ip program",
    ),
]

HERE, THERE = f"echobench-n{os.getpid()}", f"echobench-m{os.getpid()}"
SENDER = ROOT / "tests/qemu/sender.py"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wire():
    """Two hosts on one wire of two queues: here is 10.98.0.1, and there 10.98.0.2."""
    try:
        ip("netns", "add", HERE)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this host gives no network namespace: {error.stderr.strip()}")
    try:
        ip("netns", "add", THERE)
        queues = ("numrxqueues", "2", "numtxqueues", "2")
        ip("link", "add", "here0", "netns", HERE, *queues, "type", "veth", "peer", "name", "there0", *queues,
           "netns", THERE)  # fmt: skip
        for space, name, last in ((HERE, "here0", 1), (THERE, "there0", 2)):
            ip("-n", space, "addr", "add", f"10.98.0.{last}/24", "dev", name)
            ip("-n", space, "link", "set", name, "up")
            ip("-n", space, "link", "set", "lo", "up")
        yield
    finally:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def nic(*options, prefix=()):
    command = ["ip", "netns", "exec", HERE, *prefix, sys.executable, "-m", "echobench", "nic", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env={**os.environ, "COLUMNS": "200"})
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def load(rate=2000):
    """Send from 64 ports until it ends; it begins before this is entered."""
    command = ["ip", "netns", "exec", THERE, sys.executable, str(SENDER), "10.98.0.1", "64", "0", str(rate)]
    sender = subprocess.Popen(command, stdin=subprocess.PIPE)
    statistics = ["ip", "netns", "exec", HERE, "cat", "/sys/class/net/here0/statistics/rx_packets"]
    try:
        wait_for(lambda: int(subprocess.run(statistics, capture_output=True, text=True).stdout) > 10, LIMIT)
        yield
    finally:
        sender.communicate(timeout=LIMIT)


def test_a_wire_is_shown(wire):
    done = nic("here0", "--json", "-")
    assert done.returncode == 0, done.stderr
    (shown,) = json.loads(done.stdout)["interfaces"]
    assert shown["driver"]["name"] == "veth"
    assert shown["channels"]["rx"] == 2
    assert shown["hashed"] == dict.fromkeys(("tcp4", "udp4", "tcp6", "udp6"))
    assert [each["rps_cpus"].strip("0,") for each in shown["receive"]] == ["", ""]
    assert shown["untold"]["spreading"] == "the driver does not tell"
    assert "veth is a virtual wire" in done.stderr


def test_all_interfaces_of_the_namespace(wire):
    names = [line.split()[0] for line in nic().stdout.splitlines()[1:-1]]
    assert {"here0", "lo"} <= set(names)
    assert "there0" not in names


def test_what_its_driver_cannot_is_refused(wire):
    done = nic("here0", "--apply", "udp4=sdfn")
    assert done.returncode == 1
    assert "refused: udp4=sdfn was refused: the driver has no such setting." in done.stdout


def test_without_privilege(wire):
    prefix = [program("setpriv"), "--bounding-set", "-net_admin"]
    done = nic("here0", "--apply", "channels=1", "--watch", "30", prefix=prefix)
    assert done.returncode == 1, done.stdout
    assert "channels=1 was refused: it needs root, or the capability CAP_NET_ADMIN" in done.stdout


def test_a_watch_sees_the_flows_that_come(wire):
    with load():
        done = nic("here0", "--watch", "2", "--json", "-")
    spread = json.loads(done.stdout)["spread"]
    assert spread["packets"] > 100, done.stderr
    assert spread["flows"] == {"kind": "udp4", "number": 64, "pairs": 1, "fragments": 0}
    assert spread["source"] is None, "veth counts packets by queue only for XDP"
    assert spread["verdict"]["name"] == "untold"
    assert sum(each["packets"] for each in spread["cpus"]) >= spread["packets"]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU has nobody to hand packets to")
def test_rps_is_applied_proved_and_undone(wire):
    mask = f"{(1 << (os.cpu_count() or 1)) - 1:x}"
    with load():
        done = nic("here0", "--quiet", "--apply", f"rps={mask}", "--watch", "2", "--json", "-")
    assert done.returncode == 0, done.stderr
    stored = json.loads(done.stdout)
    assert stored["proofs"][0]["state"] == "proved", stored["proofs"]
    (change,) = stored["changes"]
    (undo,) = change["undo"]
    undone = nic(*undo.split()[2:])
    assert undone.returncode == 0, undone.stderr
    assert "not proved" in undone.stdout


def test_blast_shows_the_queues_beside_its_result(wire, launch, tmp_path):
    server = launch(prefix=["ip", "netns", "exec", THERE])
    page, stored = tmp_path / "r.html", tmp_path / "r.json"
    command = ["ip", "netns", "exec", HERE, sys.executable, "-m", "echobench", "blast", f"10.98.0.2:{server.port()}",
               "--udp", "--flows", "8", "--rate", "2000", "--duration", "4", "--warmup", "0", "--nic", "here0",
               "--html", str(page), "--json", str(stored)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "over here0; 8 flows, most of them udp4" in " ".join(done.stdout.split())
    assert "Receive queues of here0" in page.read_text()
    found = json.loads(stored.read_text())["nic"]
    assert found["packets"] > 8
    again = subprocess.run(
        [sys.executable, "-m", "echobench", "show", str(stored)], capture_output=True, text=True, timeout=60
    )
    assert "over here0; 8 flows" in " ".join(again.stdout.split())


def test_a_load_of_our_own(wire, launch):
    server = launch(prefix=["ip", "netns", "exec", THERE])
    begun = time.monotonic()
    done = nic("here0", "--peer", f"10.98.0.2:{server.port()}", "--watch", "4", "--json", "-")
    spread = json.loads(done.stdout)["spread"]
    assert spread["flows"]["number"] == 64
    assert spread["packets"] > 64, done.stderr
    assert time.monotonic() - begun >= 4


def test_a_peer_that_is_not_there(wire):
    done = nic("here0", "--peer", "10.98.0.2:9", "--watch", "4")
    assert done.returncode == 1
    assert "Error: no answer came from 10.98.0.2, UDP port 9" in done.stderr

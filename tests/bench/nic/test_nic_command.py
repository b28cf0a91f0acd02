"""The command: what it shows, stores, changes and refuses; on made-up cards, and on this host's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from rigs.cards import a_picture, counts_of, flows_of
from rigs.helpers import LIMIT, needs_linux

from echobench.bench import run
from echobench.bench.nic import command, watching
from echobench.bench.nic.watching import Watch
from echobench.host.nic.change import Change
from echobench.host.nic.picture import NicError
from echobench.host.nic.spread import spread

SCHEMA = json.loads(Path(command.__file__).with_name("nic.schema.json").read_text())


def watched(*packets, flows=64, hashed="sd", interrupted=False):
    return Watch(spread=spread(a_picture(hashed=hashed), counts_of(*packets), flows_of(flows)), interrupted=interrupted)


ONE, EVEN = watched(3840, 0, 0, 0), watched(960, 960, 960, 960, hashed="sdfn")
DONE = Change(setting="udp4=sdfn", before="sd", after="sdfn", undo=("echobench nic eth0 --apply udp4=sd",))


@pytest.fixture
def invoke(monkeypatch):
    """Call the command on a host with one card, whose watches end with these in turn."""

    def invoke(*options, watches=(), changes=(DONE,), forbidden=None, picture=None):
        left = list(watches)
        monkeypatch.setattr(command, "look", lambda name: picture or a_picture(interface=name))
        monkeypatch.setattr(command, "interfaces", lambda: ["eth0", "eth1"])
        monkeypatch.setattr(watching, "watch", lambda *_: left.pop(0))
        monkeypatch.setattr(watching, "load", lambda *_: left.pop(0))
        monkeypatch.setattr(command.changing, "forbidden", lambda *_: forbidden)
        monkeypatch.setattr(command.changing, "apply", lambda *_: list(changes))
        done = CliRunner().invoke(command.nic, options, terminal_width=200)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert not left, "it did not watch as often as it should"
        return done

    return invoke


def test_the_picture(invoke):
    done = invoke("eth0")
    assert done.exit_code == 0
    assert "sd: IP SA, IP DA" in done.stdout
    assert "combined 4 of 8" in done.stdout
    flat = " ".join(done.stdout.split())
    assert "All udp4 packets between two addresses go to one queue" in flat
    assert "echobench nic eth0 --apply udp4=sdfn" in flat


def test_what_is_not_told_is_said(invoke):
    picture = a_picture("veth", hashed=None, spreading=None, channels=None, untold={"udp4": "the driver does not tell"})
    done = invoke("eth0", picture=picture)
    assert "hash of udp4        the driver does not tell" in done.stdout
    flat = " ".join(done.stdout.split())
    assert "veth is a virtual wire" in flat
    assert "RPS spreads by ports in software: echobench nic eth0 --apply rps=f" in flat
    assert "blast --source" in flat


def test_all_interfaces(invoke):
    done = invoke()
    assert [line.split()[0] for line in done.stdout.splitlines()[:3]] == ["interface", "eth0", "eth1"]


def test_a_watch_that_finds_one_queue(invoke):
    done = invoke("eth0", "--watch", "1", watches=[ONE])
    assert done.exit_code == 1
    assert "one queue: queue 0 gets 100% of the packets although 64 flows came" in " ".join(done.stdout.split())
    assert "mend: echobench nic eth0 --apply udp4=sdfn" in done.stdout
    assert f"rx-0     {'#' * 40}" in done.stdout


def test_a_watch_that_finds_nothing_wrong(invoke):
    done = invoke("eth0", "--watch", "1", watches=[EVEN])
    assert done.exit_code == 0
    assert "mend" not in done.stdout


def test_a_watch_that_is_ended_early(invoke):
    assert invoke("eth0", "--watch", "1", watches=[watched(960, 960, interrupted=True)]).exit_code == 130


def test_a_change_without_a_load_is_not_proved(invoke):
    done = invoke("eth0", "--apply", "udp4=sdfn")
    assert done.exit_code == 0
    flat = " ".join(done.stdout.split())
    assert "udp4=sdfn: the driver said sd, and says sdfn now" in flat
    assert "undo: echobench nic eth0 --apply udp4=sd" in flat
    assert "not proved: udp4=sdfn: the driver says sdfn, and no load has shown it" in flat


@pytest.mark.parametrize("how", [("--watch", "1"), ("--peer", "192.0.2.1")])
def test_a_change_that_is_proved(invoke, how):
    done = invoke("eth0", "--apply", "udp4=sdfn", *how, watches=[ONE, EVEN])
    assert done.exit_code == 0
    flat = " ".join(done.stdout.split())
    assert "proved: udp4=sdfn: packets by queue were [3840 0 0 0], and are [960 960 960 960]" in flat


def test_a_driver_that_lies(invoke):
    done = invoke("eth0", "--apply", "udp4=sdfn", "--watch", "1", watches=[ONE, ONE])
    assert done.exit_code == 1
    assert "disproved: udp4=sdfn" in done.stdout


def test_a_refusal(invoke):
    refused = Change(setting="udp4=sdfn", before="sd", after="sd", undo=(), refused="udp4=sdfn was refused: no")
    done = invoke("eth0", "--apply", "udp4=sdfn", "--watch", "1", watches=[ONE], changes=[refused])
    assert done.exit_code == 1
    assert "refused: udp4=sdfn was refused: no." in done.stdout
    assert "proved" not in done.stdout


def test_without_privilege_nothing_is_watched_or_changed(invoke):
    done = invoke("eth0", "--apply", "udp4=sdfn", "--watch", "1", forbidden="it needs root")
    assert done.exit_code == 1
    assert "refused: it needs root." in done.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--watch", "1"], "which interface?"),
        (["eth0", "--watch", "0"], "above 0 and up to an hour, not 0 s"),
        (["eth0", "--watch", "99m"], "up to an hour"),
        (["eth0", "--apply", "udp4=sdfn", "--apply", "udp4=sd"], "--apply has udp4 twice"),
        (["eth0", "--apply", "mtu=9000"], "is no setting"),
        (["eth0", "--peer", "a b"], "--peer: 'a b' is not a HOST"),
        (["eth0", "--json", "/nowhere/x"], "cannot be written"),
    ],
)
def test_options_that_make_no_sense(invoke, options, sentence):
    done = invoke(*options)
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_an_interface_that_is_not_there(monkeypatch):
    def look(name):
        raise NicError(f"there is no interface {name} here")

    monkeypatch.setattr(command, "look", look)
    done = CliRunner().invoke(command.nic, ["nope"])
    assert done.exit_code == 1
    assert done.stderr == "Error: there is no interface nope here\n"


def test_a_system_that_tells_nothing(monkeypatch):
    monkeypatch.setattr(command, "interfaces", list)
    done = CliRunner().invoke(command.nic, [])
    assert done.exit_code == 1
    assert "this command is for Linux" in done.stderr


@pytest.mark.parametrize("watches", [(), (ONE, EVEN)])
def test_json(invoke, tmp_path, watches):
    how = ("--watch", "1") if watches else ()
    invoke("eth0", "--apply", "udp4=sdfn", *how, "--json", str(tmp_path / "n.json"), watches=watches)
    stored = json.loads((tmp_path / "n.json").read_text())
    jsonschema.validate(stored, SCHEMA)
    assert stored["changes"][0]["undo"] == ["echobench nic eth0 --apply udp4=sd"]
    assert stored["proofs"][0]["state"] == ("proved" if watches else "not proved")


def test_results_of_blast_have_the_same_spread():
    whole = json.loads((Path(run.__file__).parent / "result.schema.json").read_text())
    assert whole["$defs"]["spread"] == SCHEMA["$defs"]["spread"]


@needs_linux
def test_this_host():
    command = [sys.executable, "-m", "echobench", "nic", "lo", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    stored = json.loads(done.stdout)
    jsonschema.validate(stored, SCHEMA)
    assert stored["interfaces"][0]["untold"]["udp4"] == "the driver does not tell"
    assert "loopback has no queues" in done.stderr

"""The command: what it prints, stores and returns, on hosts that are made up, and on this one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from rigs.helpers import LIMIT, needs_linux

from echobench.bench.doctor import command
from echobench.bench.doctor.report import summary
from echobench.host.finding import Finding

SCHEMA = json.loads(Path(command.__file__).with_name("doctor.schema.json").read_text())


def finding(name, level, **changes):
    known = {"seen": "seen", "why": "It matters.", "source": "somewhere(7)"}
    return Finding(name=name, level=level, **{**known, **changes})


BAD = finding("buffers", "bad", change="sysctl -w a=1", undo="sysctl -w a=0")
NOTE, GOOD = finding("turbo", "note"), finding("clock", "good")


@pytest.fixture
def invoke(monkeypatch):
    asked = []

    def invoke(*options, findings=(BAD, NOTE, GOOD)):
        monkeypatch.setattr(command, "examine", lambda uses: asked.append(uses) or list(findings))
        done = CliRunner().invoke(command.doctor, options)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    invoke.asked = asked
    return invoke


def test_the_report(invoke):
    done = invoke()
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "1 thing holds this use back: buffers."
    assert "change: sysctl -w a=1" in done.stdout
    assert "undo:   sysctl -w a=0" in done.stdout
    assert "somewhere(7)" in done.stdout
    assert done.stdout.index("buffers: seen") < done.stdout.index("turbo: seen")
    assert done.stdout.rstrip().endswith("good    clock")
    assert "clock: seen" in invoke("--all").stdout


def test_statuses(invoke):
    assert invoke(findings=[NOTE, GOOD]).exit_code == 0
    assert invoke("--for", "nothing").exit_code == 2
    assert invoke("--json", "/nowhere/x").exit_code == 2


def test_uses(invoke):
    invoke("--for", "lan", "--for", "latency")
    assert invoke.asked == [("lan", "latency")]


def test_json(invoke, tmp_path):
    invoke("--json", str(tmp_path / "d.json"))
    stored = json.loads((tmp_path / "d.json").read_text())
    jsonschema.validate(stored, SCHEMA)
    assert [each["name"] for each in stored["findings"]] == ["buffers", "turbo", "clock"]


def test_where_nothing_can_be_seen():
    assert summary([]) == "Nothing could be checked here: the checks are for Linux."


@needs_linux
def test_this_host():
    done = subprocess.run(
        [sys.executable, "-m", "echobench", "doctor", "--json", "-"], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode in (0, 1), done.stderr
    stored = json.loads(done.stdout)
    jsonschema.validate(stored, SCHEMA)
    names = {each["name"] for each in stored["findings"]}
    assert names >= {"engine for TCP", "engine for UDP", "file descriptors", "other work", "net.core.somaxconn"}
    assert done.returncode == int(any(each["level"] == "bad" for each in stored["findings"]))

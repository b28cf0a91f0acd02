"""docs/measures/turns.py: what it makes of runs, and that it stores them. No rate is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from rigs.places import ROOT

MEASURES = ROOT / "docs" / "measures"


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    import turns

    return turns


def a_run(number, server, cpu, **changes):
    return {
        "round": number,
        "server": server,
        "echoes": 1000,
        "server_cpu": cpu,
        "rate": 5000.0,
        "p50_us": 9,
        **changes,
    }


def test_work_is_compared_within_undisturbed_rounds(turns):
    runs = [a_run(0, "c-epoll", 0.02), a_run(0, "ours", 0.04)]
    runs += [a_run(1, "c-epoll", 0.04), a_run(1, "ours", 0.02)]
    runs += [a_run(2, "c-epoll", 0.01), a_run(2, "ours", 0.99, steal=0.5)]
    load = turns.MORE["connect-1"]
    beginning = f"| {load.title} | ours | 1.00 (-) | 30.00 | 5,000 | 9 | 2 |"
    assert turns.row(runs, "ours", load) == beginning, "two rounds have no interval"
    runs += [a_run(3, "c-epoll", 0.03), a_run(3, "ours", 0.03)]
    assert turns.row(runs, "ours", load).startswith(f"| {load.title} | ours | 1.00 (0.18..5.60) | 30.00 |")
    assert "no round can be used" in turns.row(runs, "nobody", load)


def run(*arguments):
    command = [sys.executable, str(MEASURES / "turns.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the instruments need Linux")
@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("make")), reason="the driver has to be built")
def test_every_run_is_stored(tmp_path):
    stored = tmp_path / "turns.json"
    short = ("--rounds", "2", "--starts", "2", "--duration", "0.1")
    done = run("--loads", "connect-1", *short, "--json", str(stored))
    assert done.returncode == 0, done.stdout + done.stderr
    (runs,) = json.loads(stored.read_text()).values()
    assert {each["server"] for each in runs} == {"c-epoll", "c-epoll-again", "ours", "bare"}
    assert {each["round"] for each in runs} == {0, 1, 2, 3}
    assert "one at a time | ours |" in done.stdout


def test_a_load_that_there_is_not_is_refused(tmp_path):
    done = run("--loads", "everything")
    assert done.returncode == 1
    assert "there is no load everything" in done.stderr

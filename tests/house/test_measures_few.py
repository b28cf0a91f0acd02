"""docs/measures/few.py: what it makes of runs, and that it stores them. No rate is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from rigs.places import ROOT

MEASURES = ROOT / "docs" / "measures"


@pytest.fixture
def few(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    import few

    return few


def a_run(number, server, cpu, **changes):
    return {"round": number, "server": server, "echoes": 1000, "server_cpu": cpu, "p50_us": 90.0, **changes}


def test_costs_are_compared_within_undisturbed_rounds(few):
    from results_page.loads import Load

    runs = [a_run(0, "c-epoll", 0.02), a_run(0, "ours", 0.03)]
    runs += [a_run(1, "c-epoll", 0.04), a_run(1, "ours", 0.08)]
    runs += [a_run(2, "c-epoll", 0.01), a_run(2, "ours", 0.99, steal=0.5)]
    load = Load("100", "100 msg/s", ("tcp",), "c-epoll")
    assert few.row(runs, "ours", load) == "| 100 msg/s | ours | 55.0 | 1.75 (1.50..2.00) | 90 | 2 |"
    assert "no round can be used" in few.row(runs, "nobody", load)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the instruments need Linux")
@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("make")), reason="the driver has to be built")
def test_every_run_is_stored(tmp_path):
    stored = tmp_path / "few.json"
    command = [sys.executable, str(MEASURES / "few.py"), "--rates", "500", "--rounds", "1", "--duration", "0.2"]
    done = subprocess.run([*command, "--json", str(stored)], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    (runs,) = json.loads(stored.read_text()).values()
    assert {run["server"] for run in runs} == {"c-epoll", "c-epoll-again", "ours", "bare"}
    assert "| 500 msg/s | ours |" in done.stdout

"""The instrument that says what metrics cost runs; no figure is asserted."""

from __future__ import annotations

import re
import shutil
import sys

import pytest
from rigs.helpers import needs_linux, run
from rigs.places import DOCS, ROOT


@pytest.mark.slow
@needs_linux
def test_it_says_what_each_server_took():
    done = run([sys.executable, str(DOCS / "measures/metrics_cost.py"), "1"], ROOT)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^.+: \d+\.\d{4}% of a CPU$", done.stdout, re.MULTILINE)) == 4
    assert re.search(r"^the host took \d+\.\d\d% of the CPUs' time, ", done.stdout, re.MULTILINE)


def test_rates_under_load_are_compared_within_rounds(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "measures"))
    import metrics_load
    from results_page.loads import LOADS

    without, _, with_, asked = metrics_load.SERVERS
    runs = [
        {"round": 0, "server": without, "echoes": 100, "server_cpu": 1.0},
        {"round": 0, "server": with_, "echoes": 99, "server_cpu": 1.0},
        {"round": 1, "server": without, "echoes": 200, "server_cpu": 1.0},
        {"round": 1, "server": with_, "echoes": 202, "server_cpu": 1.0},
        {"round": 2, "server": without, "failed": "it did not start"},
        {"round": 2, "server": with_, "echoes": 202, "server_cpu": 1.0},
    ]
    load = LOADS["tcp-50"]
    assert metrics_load.row(runs, load, with_) == f"| {load.title} | {with_} | 150 | 1.000 (0.990..1.010) | 2 |"
    assert "no round can be used" in metrics_load.row(runs, load, asked)


@pytest.mark.slow
@needs_linux
@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("make")), reason="the driver has to be built")
def test_the_load_is_offered_with_and_without():
    command = [sys.executable, str(DOCS / "measures/metrics_load.py"), "--rounds", "1", "--duration", "0.1"]
    done = run([*command, "--loads", "udp-16"], ROOT)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("| UDP, 16 sockets, 12 datagrams each | with") == 4

"""docs/measures/workers.py: what it reads, what it computes, what it draws, and a short run. No rate is asserted."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = next(each for each in Path(__file__).resolve().parents if (each / "pyproject.toml").exists())
MEASURES = ROOT / "docs" / "measures"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the instruments need Linux")


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(MEASURES))
    yield
    sys.path.remove(str(MEASURES))


@pytest.fixture
def tables():
    from workers_page import tables

    return tables


def run(server, number, *, work=1.0, rate=100.0, load="tcp-50", **more):
    return {
        "load": load, "round": number, "server": server, "echoes": work, "server_cpu": 1.0, "rate": rate, "steal": 0.0,
        "others": 0.0, **more,
    }  # fmt: skip


def cells(text, word):
    """Give the cells of the row that begins with a word."""
    (found,) = [line for line in text if line.startswith(f"| {word}")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_ratios_are_formed_within_rounds_and_disturbed_rounds_are_left_out(tables):
    """A machine that is twice as fast in one round changes no ratio."""
    runs = [run("ours-1", n, work=100.0 * (n + 1)) for n in range(4)]
    runs += [run("ours-2", n, work=92.0 * (n + 1)) for n in range(3)]
    runs += [run("ours-2-each", n, work=101.0 * (n + 1)) for n in range(3)]
    runs += [run(name, 1, work=each) for name, each in (("c-1", 100.0), ("c-2", 80.0))]
    runs.append(run("ours-2", 3, work=1.0, steal=0.5))
    text = tables.cost_table({"runs": runs})
    row = cells(text, "TCP, 50")
    assert row[3] == "0.92&nbsp;(0.92..0.92)"
    assert row[5:] == ["1.01&nbsp;(1.01..1.01)", "0.80&nbsp;(0.80..0.80)", "3", "met"]
    notes = " ".join(tables.notes({"runs": runs}))
    assert "up to 50.0% of the CPUs' time" in notes
    assert "1 rounds in which it took more than 2% are left out" in notes


def test_a_missed_must_is_said(tables):
    runs = [run("ours-1", 0, work=100.0), run("ours-2", 0, work=89.0)]
    assert cells(tables.cost_table({"runs": runs}), "TCP, 50")[-1] == "**missed**"


def test_the_gain_is_compared_with_that_of_c(tables):
    """By hand: 1.2 to 1.5 is 0.80, 1.5 to 1.5 is 1.00; a round without C's second server has no part."""
    runs = []
    for number, ours in enumerate((120.0, 150.0, 150.0)):
        runs += [run("ours-1", number), run("ours-2", number, rate=ours), run("c-1", number, rate=200.0)]
        c = {"failed": "1 lost"} if number == 2 else {}
        runs.append(run("c-2", number, rate=300.0, **c))
    text = tables.rate_table({"runs": runs})
    row = cells(text, "TCP, 50")
    assert row[3] == "1.50&nbsp;(1.20..1.50)"
    assert row[6] == "1.50&nbsp;(1.50..1.50)"
    assert row[7] == "0.90&nbsp;(0.80..1.00)"
    assert row[-1] == "**missed**"
    assert "1 runs failed, and are left out: 1 lost." in " ".join(tables.notes({"runs": runs}))


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values, part):
    from workers_page import tables

    found = tables.percentile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= part * len(values) - 1e-9
    assert sum(value < found for value in values) < part * len(values) + 1e-9


def test_the_p99_of_a_hundred_kills_is_the_last_but_one(tables):
    kills = [
        {"loaded": False, "longest": (n + 1) / 100, "serves_after": 0.2, "connections": 10, "failed": [], "pause": 0.05}
        for n in range(99)
    ]
    kills.append({**kills[0], "longest": 5.0, "failed": ["reset"]})
    row = cells(tables.kills_table({"runs": kills}), "nothing")
    assert row[1:] == ["100", "0.51&nbsp;s", "0.99&nbsp;s", "5.00&nbsp;s", "0.20&nbsp;s", "1,000", "1", "met"]


def test_skew_and_steering(tables):
    runs = [
        {"workers": 2, "transport": "tcp", "flows": [128, 128]},
        {"workers": 2, "transport": "tcp", "flows": [100, 156]},
        {"workers": 2, "transport": "udp", "flows": [0, 256]},
        {"transport": "tcp", "sender": 4, "flows": [3, 253], "cpus": [0, 4]},
    ]
    text = tables.spread_table({"runs": runs})
    assert cells(text, "TCP | 2") == ["TCP", "2", "2", "1.11", "1.22", "100 and 156"]
    assert cells(text, "UDP | 2") == ["UDP", "2", "1", "2.00", "2.00", "0 and 256"]
    assert cells(text, "TCP | CPU") == ["TCP", "CPU 4", "253 of 256"]


def test_what_a_log_says_of_workers():
    from workers_page.servers import counts, processes

    said = (
        "worker 1 serves, as process 11\nworker 0 serves, as process 10\nworker 0 serves, as process 12\n"
        "worker 0 since the start: open_connections=0 connections=60 reads=60 stream_bytes=60 datagrams=0 drops=none\n"
        "worker 1 since the start: open_connections=0 connections=61 reads=60 stream_bytes=60 datagrams=0 drops=none\n"
        "all 2 workers since the start: open_connections=0 connections=121 reads=120 drops=none skew=1.01\n"
        "worker 1 since the start: open_connections=0 connections=99 reads=60 stream_bytes=60 datagrams=0 drops=x:1\n"
    )
    assert processes(said) == {0: 12, 1: 11}
    assert [each["connections"] for each in counts(said)] == [60, 99]


@pytest.mark.parametrize(("flows", "drivers", "expected"), [(50, 2, [25, 25]), (16, 3, [6, 5, 5]), (1, 2, [1, 0])])
def test_flows_are_divided_among_drivers(flows, drivers, expected):
    from workers_page.rates import shares

    assert shares(flows, drivers) == expected


def test_drivers_that_run_together_are_added_up_and_the_server_is_not_counted_twice():
    from workers_page.servers import disturbance, together

    said = {"echoes": 5, "rate": 10.0, "server_cpu": 0.5, "driver_cpu": 0.25, "seconds": 0.5, "p99_us": 7.0}
    found = together([said, {**said, "server_cpu": 0.7, "p99_us": 9.0}])
    assert found == {
        "echoes": 10, "rate": 20.0, "server_cpu": 0.6, "driver_cpu": 0.5, "seconds": 0.5, "p99_us": 9.0,
    }  # fmt: skip
    before = dict.fromkeys(("all", "busy", "stolen", "known"), 1.0)
    after = {"all": 11.0, "busy": 8.0, "stolen": 1.5, "known": 7.0}
    assert disturbance(before, after) == {"steal": 0.05, "others": 0.1}


def test_a_connection_counts_until_its_own_bytes_are_back():
    from workers_page.kills import MESSAGE, Knocking

    with socket.create_server(("127.0.0.1", 0)) as listener:
        knocking = Knocking(listener.getsockname()[1])
        try:
            for _ in range(3):
                knocking.begin()
            right, wrong, early = (listener.accept()[0] for _ in range(3))
            with right, wrong, early:
                right.sendall(MESSAGE[:10])
                wrong.sendall(MESSAGE[:10] + b"?")
                early.recv(64)
                early.shutdown(socket.SHUT_WR)
                while len(knocking.failed) < 2:
                    knocking.look(1.0)
                assert (knocking.took, knocking.waiting) == ([], 1)
                right.sendall(MESSAGE[10:])
                while knocking.waiting:
                    knocking.look(1.0)
        finally:
            knocking.close()
    assert len(knocking.took) == 1
    assert knocking.failed == ["an early end, or other bytes"] * 2


def workers_py(*arguments):
    command = [sys.executable, str(MEASURES / "workers.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def test_what_is_stored_makes_what_is_in_the_docs(tmp_path):
    copy = tmp_path / "workers.json"
    shutil.copy(MEASURES / "workers.json", copy)
    done = workers_py("--from", copy)
    assert done.returncode == 0, done.stderr
    assert copy.with_suffix(".md").read_text() == (MEASURES / "workers.md").read_text()
    assert done.stdout == (MEASURES / "workers.md").read_text() + "\n"


@pytest.fixture
def two_cpus():
    """Two CPUs, and the programs in C."""
    for needed in ("cc", "make"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("two CPUs are needed")
    return cpus[0], cpus[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tcp-50", "udp-16"])
def test_two_drivers_load_two_processes(two_cpus, name):
    from results_page.subjects import build
    from workers_page.rates import LOADS, measure
    from workers_page.servers import in_c

    build()
    chosen = argparse.Namespace(duration=0.2, warm_up=0.1)
    run = measure(name, in_c(2, LOADS[name][0]), two_cpus, chosen)
    assert "failed" not in run
    assert min(run["echoes"], run["rate"], run["server_cpu"], run["driver_cpu"]) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_run_stores_its_parts_and_draws_them(two_cpus, tmp_path):
    results = tmp_path / "found.json"
    done = workers_py("--parts", "kills,spread", "--workers", "2", "--kills", "1", "--draws", "1", "--results", results)
    assert done.returncode == 0, done.stderr
    stored = json.loads(results.read_text())
    (kill,) = stored["parts"]["kills"]["runs"]
    assert kill["longest"] > 0
    assert kill["pause"] == 0.05
    hashed = [run for run in stored["parts"]["spread"]["runs"] if "workers" in run]
    assert [sum(run["flows"]) for run in hashed] == [256] * 2
    assert [len(run["flows"]) for run in hashed] == [2] * 2
    assert done.stdout == results.with_suffix(".md").read_text() + "\n"
    again = workers_py("--from", results)
    assert (again.returncode, again.stdout) == (0, done.stdout)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--parts", "rates,speed"], 2, "--parts: there is no speed; there are rates, kills, loaded, spread"),
        (["--from", "nowhere.json"], 1, "nowhere.json"),
        (["--workers", "two"], 2, "--workers is numbers with commas between them, not two"),
        (["--kills", "0"], 2, "--rounds, --kills and --draws are 1 or more"),
    ],
)
def test_what_workers_does_not_take(arguments, status, words):
    done = workers_py(*arguments)
    assert done.returncode == status
    assert words in done.stderr.splitlines()[-1]

"""The commands of the results page, docs/measures/run.py and generator.py. No rate is asserted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from rigs.peers import MEASURES
from rigs.places import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the instruments need Linux"),
]


# run.py: the pure part


@pytest.fixture
def ratios(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    from results_page import ratios

    return ratios


def made(server, number, work, steal=0.0, **more):
    return {
        "load": "tcp-1", "round": number, "server": server, "steal": steal, "others": 0.0, "echoes": work, "rate": work,
        "server_cpu": 1.0, "server_user": 0.4, "server_system": 0.6, "driver_cpu": 0.5, "seconds": 1.0, "p50_us": 20.0,
        "p99_us": 30.0, **more,
    }  # fmt: skip


def test_ratios_are_formed_within_rounds(ratios):
    """A machine that is twice as fast in one round changes no ratio."""
    runs = [made("c", n, 100 * (n + 1)) for n in range(3)] + [made("x", n, 90 * (n + 1)) for n in range(3)]
    found = ratios.compare(runs, "x", "c")
    assert found["rounds"] == 3
    assert [found["work"][name] for name in ("median", "least", "greatest")] == pytest.approx([0.9] * 3)
    assert found["work"]["interval"] == pytest.approx((0.9, 0.9))
    assert found["p50"]["median"] == 1.0


def test_the_interval_is_students(ratios):
    """By hand: logarithms of 0, l and 2 l, with l = ln 1.1, and 4.303 for two degrees of freedom."""
    assert ratios.interval([1.0, 1.1, 1.21]) == pytest.approx((0.868, 1.394), abs=0.001)
    assert ratios.interval([1.0, 1.1]) is None
    assert ratios.student(29) > ratios.student(30) > ratios.student(1000) > 1.96


def test_disturbed_rounds_and_failed_runs_do_not_count(ratios):
    runs = [made("c", n, 100) for n in range(4)]
    runs += [made("x", 0, 50, steal=0.021), made("x", 1, 80, steal=0.02), made("x", 2, 90)]
    runs.append({"load": "tcp-1", "round": 3, "server": "x", "failed": "1 lost"})
    loads = {"tcp-1": {"title": "one", "reference": "c"}}
    [found] = ratios.summary(runs, loads)
    assert (found["rounds"], found["left_out"]) == (4, 1)
    x = next(row for row in found["rows"] if row["server"] == "x")
    assert (x["rounds"], x["work"]["least"], x["failed"]) == (2, 0.8, ["1 lost"])


def test_ahead_and_behind_are_what_the_interval_says(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    from results_page.glance import standing

    works = {"ours": [100, 101, 99], "slow": [50, 51, 49], "fast": [200, 210, 190], "like": [90, 100, 115]}
    runs = [made(name, n, work) for name, each in works.items() for n, work in enumerate(each)]
    runs += [made("once", 0, 10)]
    found = standing(runs, ["slow", "fast", "like", "once"])
    assert found == {
        "ahead": {"slow": pytest.approx(2, abs=0.03)},
        "level": {"like": pytest.approx(1.01)},
        "behind": {"fast": pytest.approx(0.5)},
    }


# run.py: the command


def run_py(*arguments):
    command = [sys.executable, str(MEASURES / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def cells(line):
    return line.count("|")


@pytest.mark.timeout(300)
def test_one_command_makes_the_tables_and_the_picture(peers, tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the server and the driver need a CPU each")
    results, picture = tmp_path / "found.json", tmp_path / "found.svg"
    where = ["--results", results, "--picture", picture]
    short = ["--rounds", "2", "--duration", "0.2", "--warm-up", "0.05"]
    done = run_py(*short, "--loads", "tcp-1,udp-16", "--servers", "ours,asyncio", *where)
    assert done.returncode == 0, done.stderr
    stored = json.loads(results.read_text())
    asked = {(n, load, server) for n in (0, 1) for load in ("tcp-1", "udp-16") for server in ("ours", "asyncio")}
    assert asked <= {(run["round"], run["load"], run["server"]) for run in stored["runs"]}
    assert len(stored["runs"]) == 16  # with C twice in each
    assert [load["load"] for load in stored["summary"]] == ["tcp-1", "udp-16"]
    worked = [run for run in stored["runs"] if "failed" not in run]
    assert len(worked) > 8, [run.get("failed") for run in stored["runs"]]  # a busy machine may spoil some
    assert all(run["echoes"] > 0 and 0 <= run["steal"] <= 1 for run in worked)
    text = results.with_suffix(".md").read_text()
    assert done.stdout == text + "\n"
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert [len(table.splitlines()) for table in tables] == [4, 6, 6]  # the first has a row for each load
    assert all(len({cells(line) for line in table.splitlines()}) == 1 for table in tables)
    assert "**Command**: `python docs/measures/run.py --rounds 2" in text
    root = ElementTree.fromstring(picture.read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("echobench") == 3
    before = text, picture.read_text()
    results.with_suffix(".md").unlink()
    picture.unlink()
    assert run_py("--from", results, "--picture", picture).returncode == 0
    assert (results.with_suffix(".md").read_text(), picture.read_text()) == before


def test_what_is_stored_makes_what_is_in_the_docs(tmp_path):
    copy, picture = tmp_path / "results.json", tmp_path / "results.svg"
    shutil.copy(MEASURES / "results.json", copy)
    done = run_py("--from", copy, "--picture", picture)
    assert done.returncode == 0, done.stderr
    assert copy.with_suffix(".md").read_text() == (MEASURES / "results.md").read_text()
    assert picture.read_text() == (ROOT / "docs" / "images" / "results.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--loads", "tcp-51"], "run.py: --loads: there is no load tcp-51; there are tcp-50, tcp-4, "),
        (["--from", "nowhere.json"], "nowhere.json"),
        (["--server-cpu", "0", "--driver-cpu", "0"], "run.py: server and driver need a CPU each; chosen were 0 and 0"),
    ],
)
def test_what_run_does_not_take(arguments, words):
    done = run_py(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_checkout_needs_an_environment(tmp_path):
    done = run_py("--before", tmp_path)
    assert done.returncode == 1
    assert "has no .venv/bin/python" in done.stderr


# generator.py


def test_blast_and_the_driver_are_measured_in_turns(peers, tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the server and the generator need a CPU each")
    stored = tmp_path / "generator.json"
    command = [sys.executable, str(MEASURES / "generator.py"), "--rounds=1", "--duration=0.2", "--warm-up=0.05"]
    done = subprocess.run(
        [*command, "--rows", "tcp-50,flood", "--results", str(stored)],
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = json.loads(stored.read_text())["runs"]
    assert {(run["row"], run["side"]) for run in runs} == {
        (row, side) for row in ("tcp-50", "flood") for side in ("blast", "driver")
    }
    worked = [run for run in runs if "failed" not in run]
    assert len(worked) >= 3, runs  # a busy machine may spoil some
    assert all(run["messages"] > 0 and run["cpu"] > 0 and 0 <= run["steal"] <= 1 for run in worked)
    again = subprocess.run(
        [sys.executable, str(MEASURES / "generator.py"), "--from", str(stored)], capture_output=True, text=True
    )
    assert again.stdout == done.stdout


def test_a_generators_ratio_is_formed_within_a_round(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    import generator

    def run(number, side, messages, **more):
        return {"row": "r", "round": number, "side": side, "messages": messages, "cpu": 2.0, "steal": 0.0, **more}

    runs = [run(n, side, times * (n + 1)) for n in range(3) for side, times in (("blast", 80), ("driver", 100))]
    runs += [run(3, "blast", 10, steal=0.021), run(3, "driver", 100)]
    [found] = generator.summary(runs)
    assert (found["rounds"], found["kept"], found["steal"]) == (4, 3, 0.021)
    assert [found["ratio"][name] for name in ("least", "median", "greatest")] == pytest.approx([0.8] * 3)
    assert found["work"] == {"blast": 80.0, "driver": 100.0}

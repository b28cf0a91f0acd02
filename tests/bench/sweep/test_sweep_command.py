"""The command ``echobench sweep``: its options, its files and its status; and one sweep of a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner
from rigs.places import ROOT
from rigs.sweeps import failing, queue
from rigs.truth import UDP
from rigs.undisturbed import repeated, unless_disturbed

from echobench.bench.blast.options import SECTIONS
from echobench.bench.load import LoadError, runner
from echobench.bench.run.plan import Plan
from echobench.bench.sweep import steps
from echobench.bench.sweep.command import command
from echobench.bench.sweep.options import SWEEP_SECTIONS
from echobench.bench.sweep.result import read_sweep
from echobench.bench.sweep.steps import Machine

CAPACITY = 1500  # messages a second


@pytest.fixture
def invoke(monkeypatch):
    """Give the command with a queue of 50,000 a second for a server."""
    seen = []
    # Machine has the functions themselves, so what it waits with is replaced, and not time.sleep.
    monkeypatch.setattr(steps, "Machine", lambda: Machine(sleep=lambda seconds: None))

    def invoke(*options, run=None):
        def step(plan, progress=None):
            seen.append(plan)
            return (run or queue(50_000))(plan)

        monkeypatch.setattr(runner, "run", step)
        return CliRunner().invoke(command, options, prog_name="sweep", terminal_width=200)

    invoke.seen = seen
    return invoke


@pytest.mark.parametrize("words", ["[::1]:7007", "::1 7007", "::1 --port 7007"])
def test_where_to(invoke, words):
    done = invoke(*words.split(), "-6", "--udp", "-L", "p99<1ms")
    assert done.exit_code == 0, done.output
    assert {(plan.host, plan.port, plan.family) for plan in invoke.seen} == {("::1", 7007, 6)}


def test_what_spoils_figures_on_this_host_is_in_the_result(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr("echobench.bench.sweep.steps.warnings", lambda: ("this host: other work: much.",))
    done = invoke("h", "--udp", "-L", "p99<1ms", "--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html"))
    assert done.exit_code == 0, done.output
    assert "note: this host: other work: much." in done.stdout
    assert read_sweep(str(tmp_path / "a.json")).notes == ("this host: other work: much.",)
    assert "other work: much." in (tmp_path / "a.html").read_text()


def test_the_answer_the_files_and_the_status(invoke, tmp_path):
    json_file, csv_file, page, picture = (str(tmp_path / f"a.{kind}") for kind in ("json", "csv", "html", "png"))
    done = invoke("h", "--udp", "-L", "p99<1ms", "--json", json_file, "--csv", csv_file, "--html", page,
                  "--png", picture)  # fmt: skip
    assert done.exit_code == 0, done.output
    stored = read_sweep(json_file)
    assert f"held up to {stored.held:,.0f} msg/s" in done.stdout.replace("\n", " ")
    assert len(Path(csv_file).read_text().splitlines()) == len(stored.steps) + 1
    assert Path(page).read_text().startswith("<!DOCTYPE html>")
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    assert "held" in done.stderr
    invoke("h", "--udp", "-L", "p99<1ms", "--csv", csv_file)
    assert len(Path(csv_file).read_text().splitlines()) == len(stored.steps) + 1, "a curve replaces a curve"


def test_options_become_plans(invoke):
    done = invoke(
        "h", "-p", "9", "-L", "p99<1ms,loss<=5%", "--from-rate", "1k", "--to-rate", "3k", "-d", "3", "-c", "8",
        "--processes", "2", "--warmup", "0", "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    same = Plan(host="h", port=9, model="open", rate=1000.0, duration=3.0, flows=8, processes=2, warmup=0.0)
    assert [plan.rate for plan in invoke.seen] == [1000, 2000, 3000, 3000]
    assert {attrs.evolve(plan, rate=1000.0) for plan in invoke.seen} == {same}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "no server to measure: give a HOST, or --from FILE"),
        ("h", "no limit to keep: give a --limit, or --from FILE with a stored sweep"),
        ("h -L p99", "'p99' is not a limit such as p99<1ms"),
        ("h -L p99<1ms --udp --tls", "--udp and --tls exclude each other"),
        ("h -L p99<1ms --from-rate 10", "loss needs 3,000 messages"),
        ("h -L p99<1ms --to-rate 1k", "--to-rate is 1,000, below --from-rate"),
        ("h -L p99<1ms --precision 5ms", "'5ms' is not a share such as 5% or 0.05"),
        ("h -L p99<1ms --precision 0%", "--precision is from 0.1 to 100 %"),
        ("h -L p99<1ms --repeats 4", "--repeats is an odd number"),
        ("h -L p99<1ms --json /", "--json: / cannot be written: it is a directory"),
        ("h -L p99<1ms --html /nowhere/x", "--html: /nowhere/x cannot be written"),
        ("h -L p99<1ms --png /nowhere/x", "--png: /nowhere/x cannot be written"),
        ("h -L p99<1ms --rate 5", "No such option"),
        ("h -L p99<1ms --flood", "No such option"),
        ("--from /nowhere", "File '/nowhere' does not exist"),
    ],
)
def test_wrong_options(invoke, options, sentence):
    done = invoke(*options.split())
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not invoke.seen


def test_the_status_of_a_sweep_that_found_nothing(invoke):
    done = invoke("h", "-L", "p99<1ms", run=queue(100))
    assert done.exit_code == 1
    assert "did not hold at 2,000 msg/s, the lowest rate" in done.stdout.replace("\n", " ")


def test_a_sweep_that_fails(invoke, tmp_path):
    refused = LoadError("the server refuses connections: is it running?")
    done = invoke("h", "-L", "p99<1ms", run=failing(queue(1), 0, refused))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith("Error: the server refuses connections: is it running?\n")
    path = str(tmp_path / "a.json")
    done = invoke("h", "-L", "p99<1ms", "--json", path, run=failing(queue(50_000), 2, refused))
    assert done.exit_code == 1
    assert "The sweep failed (the server refuses connections" in done.stdout
    assert len(read_sweep(path).steps) == 2, "what is known is kept"


def test_its_options_are_those_of_blast_that_make_sense():
    own = {option.name for options in SWEEP_SECTIONS.values() for option in options}
    blasts = {option.name for options in SECTIONS.values() for option in options}
    assert blasts - own == {"window", "rate", "flood", "connect", "count", "interval", "nic"}
    assert own - blasts == {"limit", "from_rate", "to_rate", "precision", "repeats"}


@pytest.fixture
def stored(invoke, tmp_path):
    """Give a sweep's file in which nothing is as it would be without options."""
    path = str(tmp_path / "stored.json")
    done = invoke(
        "h", "--udp", "-p", "9", "-L", "p50<2ms,loss<=5%", "--from-rate", "1k", "--to-rate", "8k", "--precision", "30%",
        "--repeats", "5", "-d", "3", "-c", "8", "--json", path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    invoke.seen.clear()
    return path


def test_again(invoke, stored, tmp_path):
    """--from takes the stored sweep; what is given beside it goes before, and what is not given does not."""
    before = read_sweep(stored)
    assert (before.last, before.precision, before.repeats, before.plan.duration) == (8000, 0.3, 5, 3)

    def again(*options):
        done = invoke("--from", stored, "--json", path, *options)
        assert done.exit_code == 0, done.output
        return attrs.evolve(read_sweep(path), started=before.started)

    path = str(tmp_path / "again.json")
    first = again()
    assert first.as_dict() == before.as_dict()
    assert {attrs.evolve(plan, rate=1000.0) for plan in invoke.seen} == {before.plan}
    other = again(
        "g", "--tcp", "-L", "p99<1s", "--from-rate", "2k", "--to-rate", "3k", "--precision", "40%", "--repeats", "1",
        "-d", "4", "--warmup", "0",
    )  # fmt: skip
    plan = {"host": "g", "transport": "tcp", "rate": 2000.0, "duration": 4.0, "warmup": 0.0}
    assert other.plan.as_dict() == before.plan.as_dict() | plan
    assert (other.limit, other.last, other.precision, other.repeats) == ("p99<1s,loss<0.1%", 3000, 0.4, 1)


def test_again_in_place_of_what_was_stored(invoke, stored):
    assert invoke("--from", stored, "--json", stored, "-L", "max<9s").exit_code == 0
    assert read_sweep(stored).limit == "max<9s,loss<0.1%"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": "echobench.sweep/9"}, "its schema is 'echobench.sweep/9', and this version reads"),
        ({"schema": "echobench.blast/1"}, "its schema is 'echobench.blast/1', and this version reads"),
        ({"last": "8k"}, "it is damaged: last is '8k'"),
        ({"last": float("nan")}, "it is damaged: last is nan"),
        ({"last": 10**400}, "it is damaged"),
        ({"precision": None}, "it is damaged: precision is None"),
        ({"repeats": 3.5}, "it is damaged: repeats is 3.5"),
        ({"limit": 5}, "it is damaged"),
        ({"plan": {"host": "h", "rate": 1000.0, "model": "open", "duration": "x"}}, "settings cannot be read"),
        (None, "it is not JSON"),
    ],
)
def test_from_what_is_no_sweep(invoke, stored, change, sentence):
    path = Path(stored)
    path.write_text("{" if change is None else json.dumps({**json.loads(path.read_text()), **change}))
    done = invoke("--from", stored)
    assert done.exit_code == 2
    assert f"Error: --from: {stored} cannot be used: " in done.stderr
    assert sentence in done.stderr
    assert not invoke.seen


def test_a_stored_sweep_that_the_options_contradict(invoke, stored):
    done = invoke("--from", stored, "--to-rate", "500")
    assert done.exit_code == 2
    assert "--to-rate is 500, below --from-rate" in done.stderr


def test_what_is_not_given_is_as_the_help_says(invoke, tmp_path):
    path = str(tmp_path / "a.json")
    assert invoke("h", "-L", "p99<1s", "--json", path).exit_code == 0
    done = read_sweep(path)
    assert done.plan == Plan(host="h", model="open", rate=2000.0, duration=5.0)
    assert (done.last, done.precision, done.repeats) == (10e6, 0.05, 3)
    text = " ".join(invoke("--help").stdout.split())
    for default in ("2k", "10M", "5%", "3", "5"):
        assert f"[default: {default}]" in text


def paced():
    """Behave as a server that answers CAPACITY messages a second from a queue, and drops what would wait for long."""
    import time

    free = 0.0

    def behave(data, n):
        nonlocal free
        now = time.perf_counter()
        if free - now > 0.2:
            return []
        free = max(free, now) + 1 / CAPACITY
        return [(free - now, data)]

    return behave


@pytest.mark.slow
@repeated
@pytest.mark.skipif(sys.platform != "linux", reason="the generator's engine for this test needs Linux")
def test_the_capacity_of_a_real_server(tmp_path):
    """Up to its capacity the queue is short, and beyond it grows for as long as the step lasts.

    With one step at each rate: the waits between more would make most of the test's time.
    """
    path = tmp_path / "sweep.json"
    with UDP(paced()) as server:
        done = subprocess.run(
            [
                sys.executable, "-m", "echobench", "sweep", "127.0.0.1", "--port", str(server.port), "--udp", "--quiet",
                "--limit", "p90<80ms,loss<10%", "--from-rate", "400", "--to-rate", "6400", "--precision", "20%",
                "--repeats", "1",
                "-d", "1", "--warmup", "0.1", "--cooldown", "0", "--timeout", "0.5", "--json", str(path),
            ],
            capture_output=True, text=True, timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    with unless_disturbed():
        assert done.returncode == 0, done.stdout + done.stderr
    sweep = read_sweep(str(path))
    steps = json.dumps([(step.rate, step.outcome, step.why) for step in sweep.steps])
    # A second of a rate that is a little too high makes a queue that a limit of 80 ms still takes.
    assert sweep.held < CAPACITY * 1.2, steps
    with unless_disturbed():
        assert sweep.held > CAPACITY * 0.7, steps
        assert sweep.ended in ("found", "generator-bound"), steps
        assert (sweep.broke or sweep.generator) < CAPACITY * 1.6, steps

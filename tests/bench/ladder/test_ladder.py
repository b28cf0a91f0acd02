"""The ladder: which rung runs under which load, what is drawn of it, and one real run."""

from __future__ import annotations

import json

import attrs
import pytest
from click.testing import CliRunner
from rigs.compare_results import a_comparison, a_run
from rigs.helpers import LIMIT, needs_linux
from rigs.pixels import size

from echobench.bench.compare.analysis.comparison import Subject
from echobench.bench.compare.profiles import parse
from echobench.bench.compare.server.lifecycle import Setting
from echobench.bench.ladder import command as module
from echobench.bench.ladder.climb import bars, climb, sentence, steepest, times, up
from echobench.bench.ladder.command import ladder, status
from echobench.bench.ladder.order import make_order
from echobench.bench.ladder.page import ladder_page
from echobench.bench.ladder.rungs import RUNGS, SERVERS, chosen
from echobench.bench.ladder.terminal import BAR, bar

NOTHING = dict.fromkeys(
    ("rungs", "loads", "duration", "warmup", "rounds", "seed", "count_calls", "server_cpus", "load_cpus"), ()
)


def invoke(*options):
    done = CliRunner().invoke(ladder, options, prog_name="ladder", terminal_width=200)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def made_up(speeds, rounds=5, **changes):
    """A ladder whose rungs do so much work, each time."""
    runs = [a_run(name, n, rate) for n in range(1, rounds + 1) for name, rate in speeds.items()]
    subjects = tuple(Subject(name=name, command="x {port}") for name in speeds)
    return a_comparison(runs, subjects=subjects, reference="twisted", **changes)


SPEEDS = {"selectors": 15_000.0, "twisted": 10_000.0, "portable": 20_000.0, "completion": 30_000.0}


def test_every_rung_has_its_server_and_an_idea():
    files = {rung.file for rung in RUNGS if rung.file}
    assert files == {path.name for path in SERVERS.glob("*.py")} - {"__init__.py"}
    for rung in RUNGS:
        assert rung.idea
        assert "{port}" in (rung.subject().command or "")


def test_a_rung_runs_under_the_loads_that_it_can_serve():
    order = make_order({**NOTHING, "loads": (parse("one,small,udp"),)})
    names = [each.name for each in order.subjects]
    under = {load.name: [name for name in names if order.has(name, load.name)] for load in order.loads}
    tcp = ["threads", "selectors", "twisted", "asyncio", "portable", "readiness", "completion"]
    assert under == {
        "one": ["blocking", *tcp], "small": tcp, "udp": ["blocking", "twisted", "asyncio", "portable", "batched"],
    }  # fmt: skip
    assert (order.reference, order.is_checked, order.idle_connections) == ("twisted", False, 0)
    assert {load.plan.duration for load in order.loads} == {1.0}


def test_without_twisted_the_lowest_rung_is_the_reference():
    order = make_order({**NOTHING, "rungs": ("asyncio", "selectors"), "rounds": 2})
    assert ([each.name for each in order.subjects], order.reference) == (["selectors", "asyncio"], "selectors")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rounds", "0"], "--rounds is at least 1 and at most 1000, not 0"),
        (["--count-calls", "2m"], "--count-calls is at least 0 and at most 60, not 120"),
        (["--rung", "batched", "--load", "small"], "no rung that was chosen can serve the load small"),
        (["--load", "one,one"], "two loads have the name 'one'"),
        (["--load", "tls"], "no rung that was chosen can serve the load tls"),
        (["--server-cpus", "999"], "CPU 999 is not available"),
        (["--rung", "ideal"], "'ideal' is not one of"),
        (["--from", "/nowhere"], "'/nowhere' does not exist"),
        (["--html", "/"], "--html: / cannot be written"),
    ],
)
def test_wrong_options(options, sentence, monkeypatch):
    monkeypatch.setattr(module, "compare_all", lambda *_: pytest.fail("something was run"))
    done = invoke(*options)
    assert (done.exit_code, sentence in done.stderr) == (2, True), done.stderr


def test_a_step_is_to_the_rung_below_that_ran():
    found = made_up(SPEEDS)
    steps = climb(found, found.loads[0])
    assert [step.rung.name for step in steps] == list(SPEEDS)
    assert [round(step.row.ratio or 0, 3) for step in steps] == [1.5, 1.0, 2.0, 3.0]
    assert [step.below and round(step.below.ratio or 0, 3) for step in steps] == [None, 0.667, 2.0, 1.5]
    best = steepest(steps)
    assert best is not None
    assert best.rung.name == "portable"
    said = sentence(steps, found.loads[0])
    assert said is not None
    assert said.startswith("The largest step is from twisted to portable, 2.00")
    assert "work: Twisted with a transport" in said


def test_a_rung_that_failed_is_stepped_over():
    found = made_up(SPEEDS)
    burnt = {"result": None, "failure": "it burnt"}
    found = attrs.evolve(
        found, runs=tuple(attrs.evolve(run, **burnt) if run.subject == "portable" else run for run in found.runs)
    )
    steps = climb(found, found.loads[0])
    assert [(step.rung.name, times(step)) for step in steps][2] == ("portable", "void")
    assert steps[3].below is not None
    assert steps[3].below.reference == "twisted"
    assert bars(steps)[2].value is None
    assert (steps[2].row.why, up(steps[2])) == ("it burnt", "-")


def test_drawn_of_a_stored_ladder(tmp_path):
    found = made_up(SPEEDS)
    path = tmp_path / "ladder.json"
    path.write_text(json.dumps(found.as_dict()))
    page, picture = tmp_path / "l.html", tmp_path / "l.png"
    done = invoke("--from", str(path), "--html", str(page), "--png", str(picture))
    assert done.exit_code == 0
    lines = [line.split()[0] for line in done.stdout.splitlines() if line.split() and line.split()[0] in SPEEDS]
    assert lines == ["completion", "portable", "twisted", "selectors"], "the highest rung is on top"
    assert "The largest step is from twisted to portable" in done.stdout
    text = page.read_text()
    for name in SPEEDS:
        assert name in text
    assert "The largest step is from twisted to portable" in text
    assert size(picture.read_bytes()) == (1920, 1080)


def test_what_a_stored_ladder_is_not(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(a_comparison([a_run()]).as_dict()))
    assert f"--from: {path} has no rungs" in invoke("--from", str(path)).stderr
    assert "--rounds and --from exclude each other" in invoke("--from", str(path), "--rounds", "3").stderr
    path.write_text("{}")
    assert "--from: " in invoke("--from", str(path)).stderr


def test_bars_are_as_long_as_their_part():
    assert [len(bar(part).plain) for part in (0.0, 0.5, 1.0)] == [0, BAR // 2, BAR]
    assert bar(0.5 / BAR).plain == "▌"


def test_the_status():
    good = made_up(SPEEDS)
    assert status(good) == 0
    assert status(attrs.evolve(good, cut_short=True)) == 130
    nothing = attrs.evolve(good, runs=tuple(attrs.evolve(run, result=None, failure="x") for run in good.runs))
    assert status(nothing) == 1
    assert "x" in ladder_page(nothing)


def test_chosen_rungs_keep_their_order():
    assert [rung.name for rung in chosen(("completion", "threads"))] == ["threads", "completion"]
    assert chosen(()) == RUNGS


SERVED = [(rung, transport) for rung in RUNGS for transport in rung.transports if rung.name != "completion"]


@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize(("rung", "transport"), SERVED, ids=lambda value: getattr(value, "name", value))
def test_a_rung_echoes(rung, transport):
    """Compare waits until it does, and ends it; completion needs a newer Linux, and is started in the same way."""
    with Setting(start_timeout=LIMIT).server(rung.subject(), transport) as server:
        assert server.gone() is None
    assert not server.troubles


@needs_linux
@pytest.mark.slow
def test_a_real_ladder(tmp_path):
    """Two rungs, for a moment each."""
    path = tmp_path / "ladder.json"
    loads = ("--load", "a=--count 50", "--load", "b=--udp --count 50", "--rung", "selectors", "--rung", "blocking")
    done = invoke("--rounds", "1", "--count-calls", "0", "--quiet", "--json", str(path), *loads)
    assert done.exit_code == 0, done.output
    stored = json.loads(path.read_text())
    ran = [(run["subject"], run["load"]) for run in stored["runs"] if run["result"]]
    assert sorted(ran) == [("blocking", "a"), ("blocking", "b"), ("selectors", "a")]
    assert "a: TCP, messages of 64 bytes" in done.stdout

"""A comparison that was killed or interrupted: its finished rounds are kept, shown, and gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import attrs
import pytest
from click.testing import CliRunner
from rigs.blast_results import a_result
from rigs.compare_results import a_run, synthetic
from rigs.helpers import LIMIT, needs_linux, wait_for
from rigs.small_servers import command
from rigs.survivors import Mark

from echobench.bench.compare import command as module
from echobench.bench.compare import making, unfinished
from echobench.bench.compare.analysis.comparison import read
from echobench.bench.compare.command import compare
from echobench.bench.compare.live import Nobody
from echobench.bench.compare.making import compare_all
from echobench.bench.compare.order import Order
from echobench.bench.compare.rounds import turns
from echobench.bench.compare.server.lifecycle import Setting
from echobench.bench.run import environment

WHOLE = synthetic(1)
SETTING = Setting(server_cpus=(), load_cpus=(), start_timeout=1.0, host="127.0.0.1")


@pytest.fixture(autouse=True)
def same_machine(monkeypatch):
    monkeypatch.setattr(environment, "describe", lambda *_: WHOLE.environment)


def order(rounds=4, **changes):
    known = {"subjects": WHOLE.subjects, "loads": WHOLE.loads, "rounds": rounds, "extra_rounds": 0, "seed": 1,
             "setting": SETTING, "idle_connections": 0, "count_calls": 0}  # fmt: skip
    return Order(**{**known, **changes})


class Made(list):
    """The runs that were made; the one that is number ``stop`` is interrupted."""

    stop = None


@pytest.fixture
def machine(monkeypatch):
    """Pretend the runs."""
    made = Made()

    def measure(turn, setting, note):
        if len(made) == made.stop:
            raise KeyboardInterrupt
        made.append((turn.round, turn.subject.name))
        return attrs.evolve(a_run(turn.subject.name, turn.round), load=turn.load.name, place=turn.place)

    monkeypatch.setattr(making.rounds, "measure", measure)
    monkeypatch.setattr(making, "essentials", lambda *_: [])
    return made


def pairs(comparison):
    return [(run.round, run.subject, run.load) for run in comparison.runs]


def test_each_finished_round_is_kept(machine):
    kept = []
    whole = compare_all(order(), Nobody(), keep=kept.append)
    each = len(WHOLE.subjects) * len(WHOLE.loads)
    assert [len(some.runs) for some in kept] == [each, 2 * each, 3 * each, 4 * each]
    assert all(some.cut_short for some in kept)
    assert not whole.cut_short


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_what_was_made_is_not_made_again(machine, stop):
    straight = compare_all(order(), Nobody())
    machine.clear()
    machine.stop = stop
    half = compare_all(order(), Nobody())
    assert half.cut_short
    machine.stop = None
    machine.clear()
    rest = compare_all(order(), Nobody(), before=half)
    assert pairs(rest) == pairs(straight), "and in the same order"
    assert len(machine) == len(straight.runs) - len(half.runs)
    assert (rest.started, rest.cut_short) == (half.started, False)


def test_more_rounds_begin_as_fewer_did(machine):
    short = compare_all(order(2), Nobody())
    machine.clear()
    long = compare_all(order(4), Nobody(), before=short)
    assert {number for number, _ in machine} == {3, 4}
    assert pairs(long) == pairs(compare_all(order(4), Nobody()))


def test_missing_turns():
    all_turns = turns(WHOLE.subjects, WHOLE.loads, 3, 1)
    assert unfinished.missing(all_turns, []) == all_turns
    assert unfinished.missing(all_turns, synthetic(1, rounds=3).runs) == []


@pytest.fixture
def resumed(monkeypatch, tmp_path):
    """Give the command, which keeps what it would run; and a file that it may resume."""
    seen = []

    def fake(order, watch, before=None, keep=None):
        seen.append((order, before))
        return attrs.evolve(WHOLE, rounds=order.rounds)

    monkeypatch.setattr(module, "compare_all", fake)

    def invoke(comparison, *options, name="c.json.part"):
        path = tmp_path / name
        path.write_text(json.dumps(comparison.as_dict()))
        done = CliRunner().invoke(compare, ["--resume", str(path), *options], terminal_width=200)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done, seen

    return invoke


HALF = attrs.evolve(WHOLE, runs=WHOLE.runs[:5], cut_short=True)


def test_resuming_takes_all_from_the_file(resumed, tmp_path):
    done, ((what, before),) = resumed(HALF)
    assert done.exit_code == 0, done.stderr
    assert what.subjects[1:] == HALF.subjects[1:]
    assert (what.loads, what.rounds, what.seed) == (HALF.loads, HALF.rounds, HALF.seed)
    assert before.as_dict() == HALF.as_dict()
    assert read(str(tmp_path / "c.json")).as_dict() == WHOLE.as_dict(), "where it was to be stored at first"
    assert not (tmp_path / "c.json.part").exists()


def test_an_unfinished_one_is_shown(tmp_path):
    (tmp_path / "c.json.part").write_text(json.dumps(HALF.as_dict()))
    done = CliRunner().invoke(compare, [str(tmp_path / "c.json.part")], terminal_width=200)
    assert done.exit_code == 0, done.stderr
    assert "mine" in done.stdout


def test_resuming_with_more_rounds(resumed):
    _, ((what, _),) = resumed(WHOLE, "--rounds", str(WHOLE.rounds + 5), name="c.json")
    assert what.rounds == WHOLE.rounds + 5


@pytest.mark.parametrize(
    ("comparison", "options", "sentence"),
    [
        (WHOLE, [], "is complete; ask for more than 10 --rounds to go on"),
        (HALF, ["--rounds", "3"], "is of 10 rounds, which --rounds cannot make fewer"),
        (HALF, ["a=x {port}"], "--resume runs what is in its file: give neither subjects nor --against with it"),
        (HALF, ["other.json"], "--resume runs what is in its file: give neither subjects nor --against with it"),
        (HALF, ["--load", "one"], "--resume and --load exclude each other: rounds with other settings do not mix"),
        (HALF, ["--duration", "1"], "--resume and --duration exclude each other"),
        (a_result(), [], "is a result of blast: give a result of compare"),
        (attrs.evolve(HALF, environment={**HALF.environment, "kernel": "5.0"}), [],
         "is from another machine or system (kernel: 5.0 then, 6.1 now), whose rounds do not mix"),
    ],
)  # fmt: skip
def test_what_cannot_be_resumed(resumed, comparison, options, sentence):
    done, seen = resumed(comparison, *options)
    assert (done.exit_code, sentence in done.stderr.replace("\n", " "), seen) == (2, True, []), done.stderr


def test_the_rounds_of_a_killed_comparison_are_not_replaced(tmp_path):
    (tmp_path / "c.json.part").write_text("hours of work")
    done = CliRunner().invoke(compare, ["a=x {port}", "--json", str(tmp_path / "c.json")], terminal_width=200)
    assert done.exit_code == 2
    assert "has the finished rounds of a comparison that was killed" in done.stderr
    assert (tmp_path / "c.json.part").read_text() == "hours of work"


def test_a_part_that_cannot_be_written_is_said_once(tmp_path, capsys):
    path = tmp_path / "gone" / "c.json"
    path.parent.mkdir()
    part = unfinished.Part.beside(str(path), None)
    path.parent.rmdir()
    part.keep(HALF)
    part.keep(HALF)
    assert capsys.readouterr().err.count("the rounds are in memory only") == 1


@pytest.mark.slow
@needs_linux
def test_a_killed_comparison_is_gone_on_with(tmp_path, monkeypatch):
    """The real command, and SIGKILL; what it left is shown, and finished."""
    path, mark = tmp_path / "c.json", Mark()
    shared = ["--quiet", "--idle-connections", "0", "--count-calls", "0"]
    line = [sys.executable, "-m", "echobench", "compare", *shared]
    new = [f"good={command('good')}", "--load", "one", "--duration", "0.2", "--warmup", "0", "-R", "4"]
    part = tmp_path / "c.json.part"
    with subprocess.Popen([*line, *new, "--json", str(path)], env=mark.environment) as process:
        wait_for(lambda: part.exists() or process.poll() is not None, 4 * LIMIT)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert mark.gone(8.0) == []
    made = read(str(part))
    assert made.cut_short
    assert made.runs
    shown = subprocess.run([*line, "--resume", str(part)], capture_output=True, text=True, timeout=4 * LIMIT)
    assert shown.returncode == 0, shown.stderr
    whole = read(str(path))
    assert [run.round for run in whole.runs] == [1, 1, 2, 2, 3, 3, 4, 4]
    first = [run.result.started for run in made.runs]
    assert [run.result.started for run in whole.runs[: len(first)]] == first, "what was made is kept as it was"
    assert not part.exists()

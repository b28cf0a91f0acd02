"""The command: options, statuses, files, the gate; and that nothing is left running whenever it is interrupted."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner
from rigs.blast_results import a_result
from rigs.compare_results import MACHINE, synthetic
from rigs.helpers import LIMIT, needs_linux, wait_for
from rigs.small_servers import command
from rigs.survivors import Mark

from echobench.bench.compare import command as module
from echobench.bench.compare.analysis.comparison import read
from echobench.bench.compare.command import compare
from echobench.bench.compare.meters import callcounter


def invoke(*options):
    done = CliRunner().invoke(compare, options, prog_name="compare", terminal_width=200)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "no server to compare: give a subject such as"),
        (["--quiet"], "no server to compare: give a subject such as"),
        (["a=serve"], "a: its command does not contain {port}: put it"),
        (["serve {port}"], "is not a subject"),
        (["a=x {port}", "a=y {port}"], "two subjects have the name 'a'"),
        (["a=x {port}", "--load", "tiny"], "'tiny' is not a load"),
        (["a=x {port}", "--load", "one,one"], "two loads have the name 'one'"),
        (["a=x {port}", "--rounds", "0"], "--rounds is at least 1 and at most 10000, not 0"),
        (["a=x {port}", "--server-cpus", "999"], "CPU 999 is not available"),
        (["a=x {port}", "--tolerance", "5%"], "--tolerance needs --against"),
        (["a=x {port}", "--time-tolerance", "5%"], "--time-tolerance needs --against"),
        (["--against", "/nowhere"], "File '/nowhere' does not exist"),
        (["/nowhere.json"], "/nowhere.json cannot be read: No such file or directory"),
        (["/nowhere.json", "a=x {port}"], "stored results are shown, subjects are run"),
        (["a=x {port}", "--json", "/"], "--json: / cannot be written: it is a directory"),
        (["a=x {port}", "--html", "/"], "--html: / cannot be written: it is a directory"),
        (["a=x {port}", "--png", "/"], "--png: / cannot be written: it is a directory"),
    ],
)
def test_wrong_options(options, sentence, monkeypatch):
    monkeypatch.setattr(module, "compare_all", lambda *_, **__: pytest.fail("something was run"))
    done = invoke(*options)
    assert (done.exit_code, sentence in done.stderr) == (2, True), done.stderr


@pytest.fixture
def pretended(monkeypatch):
    """Run nothing, and give what a test puts here."""
    orders, results = [], []
    monkeypatch.setattr(module, "compare_all", lambda order, *_: orders.append(order) or results.pop())
    return orders, results


def store(tmp_path, comparison, name="old.json"):
    path = tmp_path / name
    path.write_text(json.dumps(comparison.as_dict()))
    return str(path)


def test_defaults(pretended):
    orders, results = pretended
    results.append(synthetic(1))
    assert invoke("mine=x {port}").exit_code == 0
    order = orders[0]
    assert [each.name for each in order.subjects] == ["ideal", "mine"]
    assert [(each.name, each.plan.duration, each.plan.warmup) for each in order.loads] == [
        ("small", 3.0, 0.5), ("one", 3.0, 0.5)]  # fmt: skip
    assert (order.rounds, order.seed, order.setting.start_timeout) == (5, 1, 10.0)
    assert order.count_calls == 0.5


def test_what_spoils_figures_on_this_host_is_a_note(pretended, monkeypatch):
    orders, results = pretended
    results.append(synthetic(1))
    monkeypatch.setattr("echobench.bench.compare.order.warnings", lambda: ("this host: other work: much.",))
    invoke("mine=x {port}")
    assert orders[0].notes[-1] == "this host: other work: much."


@pytest.mark.parametrize(
    ("speed", "changes", "status", "words"),
    [
        (1.0, {}, 0, "passed: mine, small"),
        (0.85, {}, 1, "slower: mine, small: work per CPU second, against the ideal's, is"),
        (0.95, {}, 3, "inconclusive: mine, small"),
        (1.0, {"environment": {**MACHINE, "cpu": "another"}}, 3, "cpu: a CPU in the stored run, another now"),
    ],
)
def test_the_gate(pretended, tmp_path, speed, changes, status, words):
    orders, results = pretended
    results.append(attrs.evolve(synthetic(2, speed), **changes))
    done = invoke("--against", store(tmp_path, synthetic(1)))
    assert (done.exit_code, words in done.stdout.replace("\n", " ")) == (status, True), done.stdout
    assert [each.command for each in orders[0].subjects[1:]] == ["x {port}"]
    assert orders[0].rounds == 10
    assert orders[0].loads == synthetic(1).loads


def test_a_new_server_that_cannot_be_measured_does_not_pass(pretended, tmp_path):
    """Status 3 would be taken for noise, and tried again."""
    new = synthetic(2)
    broken = [attrs.evolve(r, result=None, failure="no") if r.subject == "mine" else r for r in new.runs]
    pretended[1].append(attrs.evolve(new, runs=tuple(broken)))
    done = invoke("--against", store(tmp_path, synthetic(1)))
    assert done.exit_code == 1
    assert "inconclusive: mine, small: there is no new figure: no" in done.stdout


def test_the_gate_takes_only_a_comparison(tmp_path):
    done = invoke("--against", store(tmp_path, a_result()))
    assert (done.exit_code, "is a result of blast: give a result of compare" in done.stderr) == (2, True)
    (tmp_path / "x").write_text('{"schema": "echobench.compare/9"}')
    done = invoke("--against", str(tmp_path / "x"))
    assert (done.exit_code, "its schema is 'echobench.compare/9'" in done.stderr) == (2, True)


def test_statuses(pretended, tmp_path):
    _, results = pretended
    good = synthetic(1)
    results.append(good)
    files = ["--json", str(tmp_path / "c.json"), "--html", str(tmp_path / "c.html"), "--png", str(tmp_path / "c.png")]
    assert invoke("mine=x {port}", *files).exit_code == 0
    page = (tmp_path / "c.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") >= 1
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert read(str(tmp_path / "c.json")).as_dict() == good.as_dict()

    def broken(*names):
        return [attrs.evolve(r, result=None, failure="no") if r.subject in names else r for r in good.runs]

    for names, status in ((("mine",), 1), (("ideal",), 1), (("mine", "ideal"), 1)):
        results.append(attrs.evolve(good, runs=tuple(broken(*names))))
        assert invoke("mine=x {port}").exit_code == status
    results.append(attrs.evolve(good, runs=good.runs[:4], cut_short=True))
    done = invoke("mine=x {port}")
    assert (done.exit_code, "The comparison was ended early" in done.stdout) == (130, True)


def test_side_by_side(tmp_path):
    one = store(tmp_path, synthetic(1, 0.9), "a.json")
    two = store(tmp_path, attrs.evolve(synthetic(2, 0.8), environment={**MACHINE, "cpu": "another"}), "b.json")
    done = invoke(one, two, store(tmp_path, a_result(), "c.json"))
    assert done.exit_code == 0
    text = done.stdout
    assert text.index("differs") < text.index("small")
    assert "another" in text
    assert "server-bound" in text


def arguments(*more):
    """The real command, under a short load."""
    return [sys.executable, "-m", "echobench", "compare", "--quiet", "--duration", "0.3", "--warmup", "0.1", *more]


@pytest.mark.slow
@needs_linux
def test_the_whole_command(tmp_path):
    """Good and bad ones: each failure is named, and the rest goes on."""
    path = tmp_path / "c.json"
    subjects = [f"{how}={command(how)}" for how in ("good", "exits", "wrong")]
    options = [
        "--load",
        "one",
        "-R",
        "2",
        "-d",
        "0.5",
        "--warmup",
        "0.1",
        "--idle-connections",
        "50",
        "--json",
        str(path),
    ]
    done = subprocess.run(arguments(*subjects, *options), capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr) == (0, "")
    assert "exits, one: it ended with status 3 before it answered (its output: the licence has expired)" in done.stdout
    assert "wrong, one: it does not echo" in done.stdout.replace("\n", " ")
    found = read(str(path))
    assert [run.result is not None for run in found.runs if run.subject in ("good", "ideal")] == [True] * 4
    assert {each.subject for each in found.memory} >= {"good", "ideal"}
    calls = {each.subject: each for each in found.calls}
    if why := callcounter.missing():
        assert (calls, f"system calls were not counted: {why}" in found.notes) == ({}, True)
        return
    assert set(calls) == {"good", "ideal"}, "those that failed are not tried again"
    assert {each.failure for each in calls.values()} == {None}
    assert calls["good"].each > 1
    assert sum("system calls" in note for note in found.notes) == 0


@pytest.mark.slow
@needs_linux
def test_calls_can_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(callcounter, "missing", lambda: pytest.fail("it was looked for"))
    path = tmp_path / "c.json"
    options = ["--count-calls", "0", "--idle-connections", "0", "--load", "one", "-R", "1", "--duration", "0.1"]
    assert invoke(f"good={command('good')}", "--quiet", "--warmup", "0", *options, "--json", str(path)).exit_code == 0
    assert read(str(path)).calls == ()


@pytest.mark.slow
@needs_linux
def test_all_subjects_fail():
    options = ["--load", "one", "-R", "1", "-d", "0.2", "--idle-connections", "0"]
    done = subprocess.run(arguments(f"x={command('exits')}", *options), capture_output=True, text=True, timeout=110)
    assert done.returncode == 1


class Interrupted:
    """A comparison under way: what it is at, seen from outside."""

    def __init__(self, process, mark, told):
        self._process, self._mark, self._told, self._litter = process, mark, told, set()

    def importing(self):
        """NumPy is loaded, and nothing was begun."""
        return "numpy" in self._now("maps")

    def memory(self):
        """The first sentence of progress is there."""
        return "measuring the memory" in self._told.read_text()

    def starting(self):
        """A subject's process is there for the first time."""
        return bool(self._servers())

    def running(self):
        """A run has ended, and the next one has its server."""
        return "round 1/5" in self._told.read_text() and bool(self._servers())

    def ending(self):
        """A server has ended, and its child, which is deaf to SIGTERM, has not."""
        self._litter.add(len(there := self._servers("litter")))
        return max(self._litter) == 2 and len(there) == 1

    def taken(self):
        """No SIGINT is pending (proc_pid_status(5)), or it is over."""
        if self._process.poll() is not None:
            return True
        pending = re.findall(r"^(?:SigPnd|ShdPnd):\t(\w+)$", self._now("status"), re.MULTILINE)
        return not any(int(each, 16) >> signal.SIGINT - 1 & 1 for each in pending)

    def _now(self, name):
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _servers(self, how=""):
        """Those that are subjects; the comparison's own arguments name them too."""
        there = [each.rstrip() for each in self._mark.alive()]
        return [each for each in there if "small_servers.py" in each and each.endswith(how) and "compare" not in each]


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("moment", ["importing", "memory", "starting", "running", "ending"])
def test_nothing_is_left_after_an_interrupt(tmp_path, moment, twice):
    """And the status says what happened; also if a second Ctrl-C comes as soon as the first was taken."""
    mark, told = Mark(), tmp_path / "told"
    subjects = [f"good={command('good')}", f"litter={command('litter')}", f"daemon={command('daemon')}"]
    line = [each for each in arguments(*subjects, "--load", "one", "--idle-connections", "20") if each != "--quiet"]
    with (
        told.open("wb") as stderr,
        subprocess.Popen(line, env=mark.environment, stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
        seen = Interrupted(process, mark, told)
        wait_for(getattr(seen, moment), 2 * LIMIT)
        process.send_signal(signal.SIGINT)
        if twice:
            wait_for(seen.taken)
            process.send_signal(signal.SIGINT)
        process.wait(LIMIT)
    assert process.returncode in (130, 1, -signal.SIGINT)
    assert mark.gone(8.0) == []

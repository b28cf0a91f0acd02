"""A run and its processes: what they count together, and that none outlives it, whatever they do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rigs.helpers import LIMIT, needs_linux, wait_for
from rigs.places import RIGS
from rigs.undisturbed import repeated, unless_disturbed

from echobench.bench.load import LoadError, checks, processes, runner, worker
from echobench.bench.run.plan import Plan, shares
from echobench.host import ownership

ADDRESS = "127.0.0.1"


def plan(**settings):
    """A run of which the fakes make a tenth of a second."""
    short = {"host": ADDRESS, "duration": 0.1, "warmup": 0.0, "cooldown": 0.0, "timeout": 0.1, "engine": "portable"}
    return Plan(**{**short, "flows": 2, "processes": 2, "interval": 0.05, **settings})


@pytest.fixture
def run(monkeypatch):
    """Run with fake workers that behave in some way; none may be there afterwards."""
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(processes.subprocess, "Popen", Noted)

    def run(how, made=None, progress=None, **limits):
        command = (sys.executable, str(RIGS / "fake_load.py"), how)
        return runner.run(made or plan(), progress, command, **{"patience": 0.5, **limits})

    yield run
    assert started, "it did not even try"
    for each in started:
        assert each.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.kill(each.pid, 0)


class Kept:
    """Progress that keeps what it is told."""

    def __init__(self):
        self.said, self.moments, self.ended = [], [], 0

    def note(self, sentence):
        self.said.append(sentence)

    def began(self, made, begin):
        self.said.append(made)

    def moment(self, moment):
        self.moments.append(moment)

    def over(self):
        self.ended += 1


@repeated
def test_a_run(run):
    kept, made = Kept(), plan(duration=0.3)
    result = run("well", made, progress=kept)
    assert result.tally.answered == result.tally.sent == result.tally.from_send.total > 50
    assert [(each.index, each.engine, each.why) for each in result.processes] == [
        (0, "portable", "asked for"),
        (1, "portable", "asked for"),
    ]
    assert result.environment["loopback"] is True
    assert result.address == ADDRESS
    assert (result.failures, result.cut_short) == ((), False)
    assert "loopback" in {verdict.name for verdict in result.verdicts}
    assert kept.said == ["engine portable: asked for", made]
    assert tuple(kept.moments) == result.moments
    assert kept.ended == 1
    rate = result.tally.answered / result.tally.window
    with unless_disturbed():
        assert sum(each.rate for each in result.processes) == pytest.approx(rate, rel=0.5)


@repeated
def test_moments_are_those_of_all_processes(run):
    result = run("well", plan(duration=0.4, interval=0.1))
    times = [moment.t for moment in result.moments]
    assert times == sorted(set(times))
    assert times
    assert all(moment.p50 == pytest.approx(50_000, rel=1e-3) for moment in result.moments if moment.rate)
    assert all(moment.lost == 0 for moment in result.moments)
    whole = [moment for moment in result.moments if moment.measured > 0.08]
    rate = result.tally.answered / result.tally.window
    with unless_disturbed():
        assert len(times) >= 3
        assert whole
        assert sum(moment.rate for moment in whole) / len(whole) == pytest.approx(rate, rel=0.3)


def test_a_rehearsal_that_fails_costs_the_run_nothing(run):
    """Somebody may take its port between when it was found free and when it is bound."""
    result = run("stage-fright", plan(count=20))
    assert (result.tally.answered, result.failures) == (20, ())


def test_a_count_ends_a_run(run):
    assert run("well", plan(duration=20.0, count=9)).tally.answered == 9


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("refuses", "^the server refuses connections: is it running\\?$"),
        ("junk", "its report cannot be understood: 'Hello!'"),
        ("dies-early", "it ended with status 1: no life before the run"),
        ("slow-start", "it was not ready in time"),
        (
            "unavailable",
            "portable cannot: it is a fake that cannot.; --engine auto chooses",
        ),
        ("raises", "it ended with status 1: RuntimeError: a fault of the engine"),
    ],
)
def test_no_result(run, how, sentence):
    """Several processes that fail of the same say it once."""
    kept = Kept()
    with pytest.raises(LoadError, match=sentence):
        run(how, progress=kept, starting=0.3 if how == "slow-start" else LIMIT)
    assert kept.ended == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("dies", "process 0: it ended with status 1: I am dying"),
        ("freezes", "process 0: it did not report in time after the run"),
        ("hangs", "process 0: it did not report in time after the run"),
        ("fails", "process 0: the server went away"),
    ],
)
def test_one_of_two_fails(run, how, sentence):
    """The others end, what they counted is kept, and the failure is said."""
    result = run(how, plan(duration=30.0 if how in ("dies", "fails") else 0.1))
    assert result.failures == (sentence,)
    assert [each.index for each in result.processes] == [1]
    assert result.verdicts[0].name == "process failed"


def test_a_worker_that_cannot_be_started(run):
    with pytest.raises(FileNotFoundError):
        runner.run(plan(), None, ("/nowhere/python",))
    run("well")


def test_not_in_the_main_thread(run):
    """Only the main thread may take signals; elsewhere a run goes without."""
    results = []
    thread = threading.Thread(target=lambda: results.append(run("well")))
    thread.start()
    thread.join(LIMIT)
    assert results[0].tally.answered


def test_the_handler_of_before_is_back(run):
    before = signal.getsignal(signal.SIGINT)
    run("well")
    assert signal.getsignal(signal.SIGINT) is before


class Blast:
    """The command in a process of its own, with fake workers."""

    def __init__(self, how, *options):
        command = [sys.executable, str(RIGS / "fake_blast.py"), how, "blast", ADDRESS, "--engine", "portable"]
        self.process = subprocess.Popen(
            [*command, "--interval", "0.1", "--processes", "2", "--flows", "2", "--warmup", "0", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.errors = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.errors += line

    def wait_for(self, words):
        wait_for(lambda: words in self.errors or self.process.poll() is not None)
        assert words in self.errors

    def children(self):
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid:
                    found.append(int(path.parent.name))
        return found

    def end(self):
        output = self.process.stdout.read()
        status = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        self.process.stdout.close()
        self.process.stderr.close()
        return status, output


def gone(pids):
    def is_gone(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_for(lambda: all(map(is_gone, pids)))


@pytest.mark.slow
@needs_linux
def test_ctrl_c_once_ends_early_and_reports():
    blast = Blast("well", "--duration", "900")
    blast.wait_for("/s answered")
    children = blast.children()
    assert len(children) == 2
    for pid in (blast.process.pid, *children):  # as a terminal does: to all of them
        os.kill(pid, signal.SIGINT)
    status, output = blast.end()
    assert status == 130, blast.errors
    assert "cut short: The run was interrupted after" in output
    assert "answers" in output
    assert "Traceback" not in blast.errors
    gone(children)


@pytest.mark.slow
@needs_linux
def test_ctrl_c_twice_leaves_at_once():
    blast = Blast("stubborn", "--duration", "900")
    blast.wait_for("/s answered")
    children = blast.children()
    blast.process.send_signal(signal.SIGINT)
    blast.wait_for("Ctrl-C once more leaves at once")
    blast.process.send_signal(signal.SIGINT)
    status, output = blast.end()
    assert (status, output) == (130, "")
    assert "leaves at once, without a result" in blast.errors
    assert "Traceback" not in blast.errors
    gone(children)


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("how", ["well", "stubborn", "hangs"])
def test_workers_do_not_outlive_a_parent_that_is_killed(how):
    blast = Blast(how, "--duration", "900")
    blast.wait_for("engine portable" if how == "hangs" else "/s answered")
    children = blast.children()
    assert len(children) == 2
    blast.process.kill()
    blast.end()
    gone(children)


def test_the_worker_as_a_module():
    """Without an order there is nothing to do, and with a wrong one a sentence."""
    order = json.dumps({"plan": plan(cpus=(4095,)).as_dict(), "index": 0, "address": [ADDRESS, 7]})
    done = subprocess.run(processes.WORKER, input=order + "\n", capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert "there is no CPU 4095 that this process may run on: choose --cpus from" in json.loads(done.stdout)["failed"]


@needs_linux
def test_a_process_keeps_to_its_cpu():
    before = os.sched_getaffinity(0)
    try:
        worker.pin(min(before))
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)
    worker.pin(None)
    assert os.sched_getaffinity(0) == before


def test_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(LoadError, match="leave out --cpus"):
        worker.pin(0)


class Willing:
    reason: str | None = None

    @classmethod
    def unavailable(cls, share):
        return cls.reason


class Unwilling(Willing):
    reason = "it is too old"


def test_choosing_an_engine(monkeypatch):
    def names(**engines):
        monkeypatch.setattr(worker, "ENGINES", {name: f"{__name__}:{kind}" for name, kind in engines.items()})

    def chosen(engine="auto"):
        return worker.choose(shares(plan(engine=engine))[0])[:2]

    names(columns="Willing", portable="Willing")
    assert chosen() == ("columns", "the fastest that works here")
    assert chosen("portable") == ("portable", "asked for")
    names(columns="Unwilling", portable="Willing")
    assert chosen() == ("portable", "columns cannot: it is too old")
    with pytest.raises(LoadError, match=r"columns cannot: it is too old\); --engine auto chooses one that can"):
        chosen("columns")
    monkeypatch.setitem(worker.ENGINES, "columns", "no_such_module:Engine")
    assert chosen()[0] == "portable"
    names(columns="Unwilling", portable="Unwilling")
    with pytest.raises(LoadError, match=r"no engine can .*columns cannot.*portable cannot"):
        chosen()


def test_resolving():
    assert checks.resolve(Plan(host=ADDRESS, port=9)) == [(ADDRESS, 9)]
    assert checks.resolve(Plan(host="[::1]")) == [("::1", 7)]
    assert checks.resolve(Plan(host="localhost", sources=(ADDRESS,))) == [(ADDRESS, 7)]
    for host, settings, sentence in (
        ("nowhere.invalid", {}, "'nowhere.invalid' has no address: .*; give an address"),
        ("x" * 70 + ".example", {}, "has no address"),
        ("", {}, "the host is empty"),
        (ADDRESS, {"sources": ("::1",)}, "has no IPv6 address"),
        (ADDRESS, {"sources": ("::1", ADDRESS)}, "are of both families"),
    ):
        with pytest.raises(LoadError, match=sentence):
            checks.resolve(Plan(host=host, **settings))


def test_a_scope_stays_with_its_address():
    index, name = socket.if_nameindex()[0]
    assert checks.resolve(Plan(host=f"fe80::1%{name}")) == [(f"fe80::1%{socket.if_indextoname(index)}", 7)]


def test_too_few_descriptors(monkeypatch):
    monkeypatch.setattr(checks, "descriptor_limit", lambda: 164)
    checks.check(Plan(host="h", flows=200, processes=2))
    with pytest.raises(LoadError, match=r"165 files .* hard limit is 164: raise it \(ulimit -Hn 165\)"):
        checks.check(Plan(host="h", flows=101))


def test_too_few_source_ports(monkeypatch):
    monkeypatch.setattr(checks, "descriptor_limit", lambda: None)
    monkeypatch.setattr(checks, "ephemeral_ports", lambda: (101, 200))
    for enough in (
        {"flows": 100},
        {"flows": 200, "sources": (ADDRESS, "127.0.0.2")},
        {"flows": 101, "source_ports": (1, 500)},
    ):
        checks.check(Plan(host="h", **enough))
    with pytest.raises(LoadError, match=r"101 flows to one destination need .* gives 100: add a --source"):
        checks.check(Plan(host="h", flows=101))


def test_the_range_of_ports(tmp_path):
    (tmp_path / "range").write_text("32768\t60999\n")
    assert checks.ephemeral_ports(tmp_path / "range") == (32768, 60999)
    assert checks.ephemeral_ports(tmp_path / "none") is None


@needs_linux
def test_the_soft_limit_is_raised():
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1, before[1]))
        worker.allow_descriptors(before[0])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[0]
        worker.allow_descriptors(3)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[0], "it is never lowered"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("address", "ours"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("192.0.2.1", False), ("224.0.0.1", False)],
)
def test_which_addresses_are_ours(address, ours):
    assert ownership.is_ours(address) is ours

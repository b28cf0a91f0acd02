"""System calls for an echo: what is asked of the kernel, what it counts, and which runs are made for it."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import types
from pathlib import Path

import attrs
import pytest
from rigs.compare_results import a_run
from rigs.helpers import needs_linux
from rigs.small_servers import command
from rigs.undisturbed import repeated, unless_disturbed

from echobench.bench.compare import callruns, profiles
from echobench.bench.compare.analysis.comparison import Calls, Subject
from echobench.bench.compare.live import Nobody
from echobench.bench.compare.meters import callcounter, callmeter, proctree
from echobench.bench.compare.meters.callcounter import CallCounter
from echobench.bench.compare.rounds import turns
from echobench.bench.compare.server.lifecycle import Setting
from echobench.kernel import calls

WHY_NOT = callcounter.missing()
can_count = pytest.mark.skipif(WHY_NOT is not None, reason=f"system calls cannot be counted here: {WHY_NOT}")

EACH = 1000
SLACK = 150  # what starting a thread and a process, writing a line and collecting garbage take beside

# A keeper's stand-in: its child has a thread from the beginning, and on a word all of it calls, with a new thread, and
# a new process that ends before the count is read.
TREE = f"""
import os, sys, threading
if os.fork():
    os.wait()
    os._exit(0)
def work():
    for _ in range({EACH}):
        os.getppid()
def wait_and_work():
    go.wait()
    work()
go = threading.Event()
old = threading.Thread(target=wait_and_work, daemon=True)
old.start()
print("ready", flush=True)
for word in sys.stdin:
    if word == "work\\n":
        go.set()
        work()
        new = threading.Thread(target=work)
        new.start()
        new.join()
        old.join()
        if not (child := os.fork()):
            work()
            os._exit(0)
        os.waitpid(child, 0)
    print("done", flush=True)
"""


class Tree:
    """Processes below a keeper, which do what they are told."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.keeper = self._process.pid
        assert self._process.stdout.readline() == "ready\n"

    def tell(self, word):
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()


@can_count
def test_all_calls_of_all_threads_and_processes_are_counted():
    with Tree() as tree:
        assert len(proctree.threads(tree.keeper)) == 2
        counter = CallCounter(tree.keeper)
        try:
            tree.tell("nothing")
            before = counter.total()
            assert before < SLACK
            tree.tell("work")
            assert 0 <= counter.total() - before - 4 * EACH < SLACK
            between = counter.total()
            tree.tell("nothing")
            assert counter.total() - between < SLACK, "it was over"
        finally:
            counter.close()


@can_count
def test_nothing_stays_open():
    def opened():
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    with Tree() as tree:
        counter = CallCounter(tree.keeper)
        counter.close()
        counter.close()
    assert callcounter.missing() is None
    assert opened() == before


def test_the_layout():
    """As linux/perf_event.h has it: the tracepoint's number in config, and of the flags only inherit."""
    made = callcounter.attributes(443)
    assert len(made) == 64
    assert struct.unpack_from("=IIQ", made) == (2, 64, 443)
    assert struct.unpack_from("=Q", made, 40) == (2,)
    assert set(made[16:40] + made[48:]) == {0}


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 298), ("aarch64", 241), ("riscv64", 241), ("ppc64le", 319)])
@needs_linux
def test_the_number_of_the_system_call(monkeypatch, machine, number):
    monkeypatch.setattr(calls.platform, "machine", lambda: machine)
    assert calls.system_call("perf_event_open").args[0].value == number


@pytest.fixture
def tracefs(monkeypatch, tmp_path):
    """A tracefs that is a folder, with the tracepoint in it; and what the kernel answers."""
    (tmp_path / "events/raw_syscalls/sys_enter").mkdir(parents=True)
    (tmp_path / callcounter.TRACEPOINT).write_text("443\n")
    monkeypatch.setattr(callcounter, "TRACEFS", (str(tmp_path / "nothing"), str(tmp_path)))
    monkeypatch.setattr(callcounter.kernel, "missing", lambda: None)
    asked = []

    def answer(error):
        def perf_event_open(attr, pid, cpu, group, flags):
            asked.append((attr.raw, pid, cpu, group, flags.value))
            return -1

        monkeypatch.setattr(callcounter.calls, "system_call", lambda name: perf_event_open)
        monkeypatch.setattr(callcounter.calls, "failure", lambda name: OSError(error, f"{name}: {os.strerror(error)}"))

    return types.SimpleNamespace(path=tmp_path, answer=answer, asked=asked)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errno.EACCES, "the kernel allows it only with CAP_PERFMON"),
        (errno.EPERM, "the kernel allows it only with CAP_PERFMON"),
        (errno.ENOSYS, "this kernel was built without perf_event_open(2)"),
        (errno.EMFILE, f"perf_event_open: {os.strerror(errno.EMFILE)}"),
    ],
)
def test_what_the_kernel_refuses_is_said(tracefs, error, sentence):
    tracefs.answer(error)
    assert callcounter.missing().startswith(sentence)
    assert tracefs.asked == [(callcounter.attributes(443), 0, -1, -1, 8)]


def test_why_the_tracepoint_is_not_known_is_said(tracefs, monkeypatch):
    tracefs.answer(errno.EIO)
    (tracefs.path / callcounter.TRACEPOINT).unlink()
    assert callcounter.missing() == "this kernel has no tracepoint raw_syscalls:sys_enter"
    monkeypatch.setattr(callcounter, "TRACEFS", ("/nowhere",))
    assert callcounter.missing().startswith("tracefs is not mounted at /nowhere")

    def forbidden(path):
        raise PermissionError(errno.EACCES, "no", str(path))

    monkeypatch.setattr(Path, "read_text", forbidden)
    assert callcounter.missing() == "/nowhere cannot be read: usually only root may read it"
    assert tracefs.asked == []


def test_elsewhere_it_is_said(monkeypatch):
    monkeypatch.setattr(callcounter.kernel, "missing", lambda: "it needs Linux, and this is darwin")
    assert callcounter.missing() == "it needs Linux, and this is darwin"


def test_a_machine_whose_number_is_not_known(tracefs, monkeypatch):
    monkeypatch.setattr(calls.platform, "machine", lambda: "vax")
    assert callcounter.missing() == "the number of the system call perf_event_open is not known for vax machines"


@pytest.fixture
def threads(monkeypatch):
    """Threads that are made up, and what is opened and closed for them."""
    found, opened, closed = [], [], []

    def give(thread):
        if thread == 13:
            raise ProcessLookupError(errno.ESRCH, "gone")
        opened.append(thread)
        return 1000 + thread

    def seven(fd, size):
        return (7).to_bytes(size, "little")

    monkeypatch.setattr(proctree, "threads", lambda keeper: found.pop(0) if len(found) > 1 else found[0])
    monkeypatch.setattr(callcounter, "_opener", lambda: give)
    monkeypatch.setattr(
        callcounter, "os", types.SimpleNamespace(close=closed.append, read=lambda fd, _: b"\7" + bytes(7))
    )
    return found, opened, closed


def test_threads_that_end_are_left_out(threads):
    found, opened, closed = threads
    found += [[11, 12, 13], [11, 12]]
    counter = CallCounter(1)
    assert (opened, counter.total()) == ([11, 12], 14)
    counter.close()
    assert sorted(closed) == [1011, 1012]


def test_a_thread_that_is_born_meanwhile_counts_once(threads):
    """It may have inherited a counter or not: all begins again."""
    found, opened, closed = threads
    found += [[11], [11, 12], [11, 12], [11, 12]]
    assert CallCounter(1).total() == 14
    assert (opened, closed) == ([11, 11, 12], [1011])


def test_threads_that_never_hold_still(threads):
    found, opened, closed = threads
    found += [[number // 2 * 20 + number % 2] for number in range(20)]
    with pytest.raises(OSError, match="its threads start and end faster than they can be found"):
        CallCounter(1)
    assert len(closed) == len(opened) == callcounter.ATTEMPTS


def counted(subject, load="one", seconds=0.4):
    return callruns.count(turns([subject], profiles.parse(load), 1, 1)[0], seconds, Setting(start_timeout=20.0))


@can_count
@repeated
@pytest.mark.parametrize(("how", "load"), [("good", "one"), ("daemon", "one"), ("udp", "udp")])
def test_an_echo_is_two_calls(how, load):
    """Of servers that block in recv: also in the background, and in threads that begin with the load."""
    found = counted(Subject(name="x", command=command(how)), load)
    assert found.failure is None
    assert abs(found.calls - 2 * found.echoes) < 30 + found.echoes / 10
    with unless_disturbed():
        assert found.echoes > 100


@can_count
def test_what_is_under_way_at_the_end_is_counted_with_its_calls():
    """Of a slow server that is a third of all; it makes three calls for each."""
    found = counted(Subject(name="x", command=command("slow-udp")), "udp")
    assert found.failure is None
    assert abs(found.calls - 3 * found.echoes) < 30 + found.echoes / 10


@can_count
@repeated
def test_a_count_of_messages_is_no_limit_here():
    found = counted(Subject(name="x", command=command("good")), "mine=--count 5 --connections 1")
    assert abs(found.calls - 2 * found.echoes) < 30 + found.echoes / 10
    with unless_disturbed():
        assert found.echoes > 100


def test_runs_that_fail(monkeypatch):
    monkeypatch.setattr(callcounter, "_opener", lambda: pytest.fail("nothing was to be opened"))
    found = counted(Subject(name="x", command=command("exits")))
    assert (found.calls, found.each) == (None, None)
    assert found.failure == "it ended with status 3 before it answered"


@needs_linux
def test_a_server_that_cannot_be_counted(monkeypatch):
    def refuse(keeper):
        raise OSError("no")

    monkeypatch.setattr(callmeter, "CallCounter", refuse)
    assert counted(Subject(name="x", command=command("good"))).failure == "no"


@pytest.fixture
def made(monkeypatch):
    """Make the runs for subjects and loads without making any."""
    tried, notes = [], []

    def count(turn, seconds, setting):
        tried.append((turn.subject.name, turn.load.name, seconds))
        return Calls(subject=turn.subject.name, load=turn.load.name, calls=1, echoes=1)

    class Watch(Nobody):
        def note(self, sentence):
            notes.append(sentence)

    def made(runs, missing=None):
        monkeypatch.setattr(callruns, "count", count)
        monkeypatch.setattr(callcounter, "missing", lambda: missing)
        subjects, loads = [Subject(name=name, command="x {port}") for name in "ab"], profiles.parse("small,one")
        kept = []
        said = callruns.make(
            turns(subjects, loads, 3, 1), runs, 0.25, setting=Setting(), watch=Watch(), keep=kept.append
        )
        return kept, said, tried, notes

    return made


def test_what_had_a_good_run_is_counted_once(made):
    runs = [a_run(name, number) for name in "ab" for number in (1, 2)]
    runs[2:] = [attrs.evolve(run, failure="no") for run in runs[2:]]
    kept, said, tried, notes = made(runs)
    assert tried == [("a", "small", 0.25)]
    assert [(each.subject, each.load) for each in kept] == [("a", "small")]
    assert (said, notes) == ([], ["counting system calls"])


def test_why_nothing_is_counted_is_noted_once(made):
    kept, said, tried, notes = made([a_run(name) for name in "ab"], "it needs Linux")
    assert (kept, tried) == ([], [])
    assert said == notes == ["system calls were not counted: it needs Linux"]


def test_nothing_is_said_where_nothing_ran(made):
    assert made([], "it needs Linux") == ([], [], [], [])

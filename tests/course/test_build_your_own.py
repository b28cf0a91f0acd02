"""The key-value service of "Build your own": which clauses each step keeps, its bounds, and its end."""

from __future__ import annotations

import importlib.util
import re
import signal
import socket
import subprocess
import sys

import pytest
from rigs.helpers import LIMIT
from rigs.places import DOCS

from echobench.bench.verify import verify

FOLDER = DOCS / "examples/course/build-your-own"
STEPS = sorted(path.name for path in FOLDER.glob("step_*.py"))


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


CLAUSES = module("clauses")
IDS = [clause.id for clause in CLAUSES.SUITE]
GREEN = {
    "step_1.py": set(),
    "step_2.py": {"tcp-bad-line", "tcp-long-line"},
    "step_3.py": {"tcp-answer", "tcp-shared", "tcp-bytewise", "tcp-pipelined"},
    "step_4.py": {"tcp-back-pressure"},
    "step_5.py": {"udp-answer", "udp-no-amplifier"},
    "step_6.py": set(),
}
"""What each step keeps that the one before it did not."""


class Step:
    """A step's server, run as its page says."""

    def __init__(self, name, folder):
        self.process = subprocess.Popen(
            [sys.executable, str(FOLDER / name), "0"], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"port=(\d+)", line)
        assert found, line
        self.port = int(found[1])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path):
    started = []

    def make(name):
        started.append(Step(name, tmp_path))
        return started[-1]

    yield make
    for step in started:
        step.end()


def test_every_clause_is_kept_from_some_step_on():
    assert list(GREEN) == STEPS
    assert sorted(clause for new in GREEN.values() for clause in new) == sorted(IDS)


def checked(port, clauses, timeout):
    """Give the verdict of each clause: one at a time, or the first that fails would leave out the others."""
    verdicts = {}
    for each in clauses:
        settings = {"clauses": [each], "suite": CLAUSES.SUITE, "timeout": timeout}
        verdicts[each] = verify("127.0.0.1", port, families=[4], **settings).outcomes[0].verdict
    return verdicts


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS[:-1])
def test_a_step_mends_what_the_one_before_lacks(name, start):
    """Green is what is new, and red what the next step brings, but for clauses that need its port for UDP."""
    port = start(name).port
    green, red = GREEN[name], GREEN[STEPS[STEPS.index(name) + 1]] - {"udp-no-amplifier"}
    assert checked(port, green, LIMIT / 3) == dict.fromkeys(green, "ok")
    assert checked(port, red - {"tcp-long-line"}, 1.0) == dict.fromkeys(red - {"tcp-long-line"}, "FAIL")


@pytest.mark.slow
def test_the_last_step_keeps_all(start):
    found = verify("127.0.0.1", start("step_6.py").port, families=[4], suite=CLAUSES.SUITE, timeout=LIMIT / 3)
    assert {each.clause.id: each.verdict for each in found.outcomes} == dict.fromkeys(IDS, "ok"), found.failed


def test_the_store_is_bounded():
    step = module("step_6")
    store = step.Store()
    for number in range(step.MOST):
        assert store.answer(b"SET %d x" % number) == b"OK"
    assert store.answer(b"SET one-more x") == b"ERROR the store is full"
    assert store.answer(b"SET 5 y") == b"OK"
    assert store.answer(b"DEL 5") == b"OK"
    assert store.answer(b"SET one-more x") == b"OK"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_the_end_is_told(start):
    step = start("step_6.py")
    with socket.create_connection(("127.0.0.1", step.port), timeout=LIMIT) as sock:
        sock.sendall(b"SET a 1\r\n")
        assert sock.recv(100) == b"OK\r\n"
        step.process.send_signal(signal.SIGTERM)
        told = b"".join(iter(lambda: sock.recv(100), b""))
    assert told == b"BYE\r\n"
    assert step.process.wait(LIMIT) == 0


def test_a_suite_of_ones_own_is_reported(capfd):
    """On a port where nobody is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert CLAUSES.main(probe.getsockname()[1]) == 1
    assert "the connection was refused" in capfd.readouterr().out

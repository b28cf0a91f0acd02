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
RED = {
    "step_1.py": set(IDS) - {"udp-no-amplifier"},
    "step_2.py": set(IDS) - {"tcp-bad-line", "tcp-long-line"},
    "step_3.py": {"tcp-back-pressure", "udp-answer"},
    "step_4.py": {"udp-answer"},
    "step_5.py": set(),
    "step_6.py": set(),
}
"""What each step does not keep. Where nobody serves a transport, its other clauses are not tried."""


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
        self.process.terminate()
        status = self.process.wait(LIMIT)
        self.process.stdout.close()
        return status


@pytest.fixture
def start(tmp_path):
    started = []

    def make(name):
        started.append(Step(name, tmp_path))
        return started[-1]

    yield make
    for step in started:
        if step.process.poll() is None:
            step.end()


def test_every_step_has_its_red_clauses():
    assert list(RED) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_step_keeps_its_clauses(name, start):
    step = start(name)
    udp = name in ("step_5.py", "step_6.py")
    for clause in IDS:
        # One at a time, as each transport's first clause would leave out the others where it fails.
        if name == "step_1.py" and clause not in ("tcp-answer", "tcp-bad-line", "udp-answer"):
            continue  # an echo has no answers: most of these only wait
        if clause == "udp-no-amplifier" and not udp:
            continue
        expected = "FAIL" if clause in RED[name] else "ok"
        found = verify(
            "127.0.0.1", step.port, families=[4], clauses=[clause], suite=CLAUSES.SUITE,
            timeout=1.0 if expected == "FAIL" else LIMIT / 3,
        )  # fmt: skip
        (outcome,) = found.outcomes
        assert (clause, outcome.verdict) == (clause, expected), outcome.seen


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

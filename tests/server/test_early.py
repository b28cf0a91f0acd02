"""SIGINT before the reactor handles it: the program ends as by any signal, and says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from rigs.helpers import LIMIT, ServerProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to oneself")

INTERRUPT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
"""Sends SIGINT to the program itself when it imports a module: at the same place every time."""


def interrupted(tmp_path, module, command):
    python, option, code, *rest = command
    done = subprocess.run(
        [python, option, INTERRUPT.format(module=module) + code, *rest],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


SERVER = ("echobench", "--port", "0", "--interface", "127.0.0.1")


@pytest.mark.parametrize("runner", [(*ServerProcess.TWISTD, "-n"), ServerProcess.TWISTD, ServerProcess.TWIST])
@pytest.mark.parametrize(
    "module",
    [
        "twisted.internet.epollreactor" if sys.platform == "linux" else "echobench.server.plugin.program",
        "echobench.server.service",
        "echobench.engines.portable.engine",
    ],
)
def test_the_server(tmp_path, runner, module):
    status, said = interrupted(tmp_path, module, [*runner, *SERVER])
    assert (status, "Traceback" in said) == (-signal.SIGINT, False), said
    assert not list(tmp_path.glob("*.pid"))


@pytest.mark.parametrize("module", ["echobench.bench.blast.command", "numpy", "rich.console"])
def test_the_benchmark(tmp_path, module):
    command = [sys.executable, "-c", "from echobench.cli import main; main()", "blast", "127.0.0.1"]
    status, said = interrupted(tmp_path, module, command)
    assert (status, said) == (130, "")


def test_sigint_stops_a_server_in_good_order(launch):
    """The reactor's own handling is in place once it runs."""
    server = launch("--interface", "127.0.0.1")
    server.process.send_signal(signal.SIGINT)
    assert server.wait() == -signal.SIGINT


@pytest.mark.parametrize("wrong", [False, True])
def test_sigint_means_to_others_what_it_meant(tmp_path, wrong):
    """A program that only reads the options has its KeyboardInterrupt when the reactor starts, or at once."""
    code = (
        "import signal\n"
        "from echobench.server.plugin.tap import Options\n"
        "try: Options().parseOptions(['--port', 'x' if WRONG else '0'])\n"
        "except SystemExit: pass\n"
        "else:\n"
        "    from twisted.internet import reactor\n"
        "    reactor.callWhenRunning(reactor.stop)\n"
        "    reactor.run(installSignalHandlers=False)\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    code = code.replace("WRONG", str(wrong))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As nohup and a shell's background have it."""
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code = ignored + "from echobench.server.plugin.early import plain_interrupts; plain_interrupts()\n"
    code += "assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=LIMIT)

"""The commands that pages show are run, and do what the pages show."""

from __future__ import annotations

import random
import re
import shlex
import subprocess
import sys

import pytest
from rigs.crews import go_on, stop, workers
from rigs.helpers import LIMIT, ServerProcess, can_bind, has_ipv6, needs_linux, program, wait_for
from rigs.places import DOCS, ROOT
from rigs.shown import commands, matches, replaced
from rigs.undisturbed import repeated, unless_disturbed

pytestmark = [pytest.mark.slow, needs_linux]

ELSEWHERE = ("pip ", "ssh ", "prometheus ")
"""Commands that are not run: they install something, need another machine, or serve for ever."""


class Page:
    """Runs what a page shows; ``ports`` are those of the page and those that are free here."""

    def __init__(self, name, launch, ports):
        self.commands = list(commands(DOCS / name))
        self.there = ports
        self.here = {here: there for there, here in ports.items()}
        self.server = None
        self._launch = launch

    def run(self, command):
        """Do what a command says; give its output, that of the server for a ``twistd`` and for a text."""
        text = replaced(command.text, self.there)
        if text.startswith("twistd "):
            self._serve(text)
        if not text or text.startswith("twistd "):
            wait_for(lambda: matches([*command.shown, "…"], self._log()))
            return
        python = shlex.quote(sys.executable)
        words = re.sub(r"^python ", f"{python} ", re.sub(r"^echobench ", f"{python} -m echobench ", text))
        done = subprocess.run(
            words, shell=True, cwd=DOCS / "metrics" if words.startswith("promtool ") else ROOT, timeout=5 * LIMIT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        output = replaced(done.stdout, self.here)
        with unless_disturbed():
            assert matches(command.shown, output), f"{command.text}\n{output}"

    def _serve(self, text):
        if self.server is not None:
            self.server.kill()
        options = shlex.split(text.partition(" echobench ")[2].replace("--stats-interval 20", "--stats-interval 1"))
        words = [*ServerProcess.TWISTD, "-n", "--pidfile=", "echobench", *options]
        self.server = self._launch(command=words)
        if "--metrics" in words:
            wait_for(lambda: "metrics at" in self.server.output)

    def _log(self):
        return replaced(self.server.output, self.here)


@pytest.fixture
def free():
    """Give ports that are free for TCP and UDP, below those that clients get."""
    return lambda number: [str(port) for port in random.sample(range(12000, 32000), 50) if can_bind(port)][:number]


@pytest.mark.skipif(not has_ipv6(), reason="the page shows a server of both families")
@repeated
def test_watch_a_server(launch, free):
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    for name in ("curl", "promtool"):
        program(name)
    page = Page("how-to/watch.md", launch, dict(zip(("7007", "9101"), free(2), strict=True)))
    stopped = None
    for command in page.commands:
        if command.text.startswith("kill -STOP "):
            stopped = workers(page.server)[1]
            stop(stopped)
        elif "-/healthy" in command.text:  # the kernel chooses which worker gets the two questions
            either = r"(?:echoes \([\d.]+ ms\)|has not echoed within [\d.]+ s)"
            text = replaced(command.text, page.there)
            try:
                output = subprocess.run(text, shell=True, capture_output=True, text=True, timeout=LIMIT).stdout
            finally:
                go_on(stopped)
            lines = [re.sub(either, "ANSWER", line) for line in replaced(output, page.here).splitlines()]
            with unless_disturbed():
                assert matches([re.sub(either, "ANSWER", line) for line in command.shown], "\n".join(lines)), output
        elif not command.text.startswith(ELSEWHERE):
            page.run(command)
    assert stopped is not None


@repeated
def test_make_the_server_misbehave(launch, free):
    sources = {f"400{number}": f"100{number}" for number in ("00", "09", "10", "19", "20", "29")}
    page = Page("how-to/faults.md", launch, {"7007": free(1)[0], **sources})
    for command in page.commands:
        page.run(command)
    assert len(page.commands) >= 9


def test_an_output_that_is_another_one_is_found():
    shown = ["…", "lost   46  4.600%", "p50  20.4 ms", "… stats faults=drop:46"]
    assert matches(shown, "x\ny\nlost 46   4.600%\np50    1.75 ms  \nlog stats faults=drop:7\n")
    for wrong in ("lost 47  4.600%\n", "lost 46  4.700%\n", ""):
        assert not matches(shown[:2], f"x\n{wrong}")
    assert not matches(shown[1:2], "x\nlost 46  4.600%\n")

"""Events of the log: each has one stable name, which the docs list, and JSON has it in every line."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from rigs.helpers import ServerProcess, run, wait_for
from rigs.places import DOCS
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

import echobench
from echobench.server.plugin.logs import line

PACKAGE = Path(echobench.__file__).parent
LEVELS = {"debug", "info", "warn", "error", "failure", "critical"}


def logged():
    """Give each call that logs: where it is, the event's name, and its level."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "bench" in path.relative_to(PACKAGE).parts:
            continue  # it prints; the log is the server's
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            if getattr(node.func.value, "id", None) == "log":
                names = [each.value for each in node.keywords if each.arg == "event"]
                where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                yield where, getattr(names[0], "value", None) if names else None, node.func.attr


def test_every_event_has_a_name_of_its_own():
    found = list(logged())
    assert len(found) > 30
    for where, name, _ in found:
        assert isinstance(name, str), f"{where} logs without a constant event="
        assert re.fullmatch(r"[a-z][a-z0-9_]+", name), where
    names = [name for _, name, _ in found]
    assert {name for name in names if names.count(name) > 1} == set()


def test_the_docs_list_every_event_with_its_level():
    level = {"failure": "critical"}  # Twisted's own for failures
    expected = {(name, level.get(kind, kind)) for _, name, kind in logged()}
    text = (DOCS / "reference/logs.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)) == expected


def events(action):
    found = []
    globalLogPublisher.addObserver(found.append)
    try:
        action()
    finally:
        globalLogPublisher.removeObserver(found.append)
    return found


def test_a_line_of_json():
    [event] = events(lambda: Logger("echobench.x").warn("a {b} {c}", b=1, c=Path("d"), event="example"))
    text = line(event)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    found = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", found.pop("time"))
    assert found == {
        "level": "warn", "event": "example", "logger": "echobench.x", "message": "a 1 d", "values": {"b": 1, "c": "d"},
    }  # fmt: skip


def test_a_failure_has_its_traceback(logged_errors):
    try:
        raise ZeroDivisionError("on purpose\nin two lines")
    except ZeroDivisionError:
        [event] = events(lambda: Logger().failure("it failed", Failure(), event="example"))
    logged_errors.clear()
    assert "ZeroDivisionError: on purpose" in json.loads(line(event))["traceback"]


def test_an_event_that_cannot_be_formatted():
    assert json.loads(line({"log_format": "{missing}"}))["event"] is None


pytestmark_posix = pytest.mark.skipif(sys.platform == "win32", reason="twistd daemonizes on POSIX systems")


def names(text):
    return [json.loads(each)["event"] for each in text.splitlines()]


@pytestmark_posix
@pytest.mark.parametrize("runner", ["twistd", "twist"])
def test_under_a_runner(launch, runner):
    start = {"twistd": [*ServerProcess.TWISTD, "-n", "--pidfile="], "twist": [*ServerProcess.TWIST]}[runner]
    options = ["echobench", "--port", "0", "--interface", "127.0.0.1", "--log-format", "json"]
    server = launch(command=[*start, *options])
    server.stop()
    assert {"engine_chosen", "server_ready", "reactor_chosen"} <= set(names(server.output))


@pytestmark_posix
def test_a_daemon_writes_to_its_file_and_begins_a_new_one(tmp_path):
    """As twistd does with its own format."""
    log, pid = tmp_path / "x.log", tmp_path / "x.pid"
    options = ["--port", "0", "--interface", "127.0.0.1", "--log-format", "json"]
    done = run([*ServerProcess.TWISTD, f"--pidfile={pid}", f"--logfile={log}", "echobench", *options], tmp_path)
    assert done.returncode == 0, done.stdout
    try:
        wait_for(lambda: "server_ready" in log.read_text())
        os.kill(int(pid.read_text()), signal.SIGUSR1)
        wait_for((tmp_path / "x.log.1").exists)
    finally:
        os.kill(int(pid.read_text()), signal.SIGTERM)
    wait_for(lambda: not pid.exists())
    assert "server_ready" in names((tmp_path / "x.log.1").read_text())
    assert names(log.read_text()) != []


@pytestmark_posix
@pytest.mark.parametrize("other", ["--syslog", "--logger=echobench.server.plugin.logs.json_observer"])
def test_two_ways_to_log(tmp_path, other):
    command = [*ServerProcess.TWISTD, "-n", "--pidfile=", other, "echobench", "--port", "0", "--log-format", "json"]
    done = run(command, tmp_path)
    assert done.returncode == 1
    assert "--log-format json and twistd's --" in done.stdout
    assert "Traceback" not in done.stdout

"""Runs of blast while the wall clock is set, again and again."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from rigs import certificates
from rigs.wall_clock import WallClock

HOUR = 3600.0


def run(arguments, tmp_path, step):
    """Run blast, and set the clock by so many seconds five times a second meanwhile."""
    clock, over = WallClock(tmp_path), threading.Event()

    def keep_setting():
        times = 0
        while not over.wait(0.2):
            times += 1
            clock.set(times * step)

    setter = threading.Thread(target=keep_setting)
    setter.start()
    command = [sys.executable, "-m", "echobench", "blast", "127.0.0.1", "--json", "result.json", *arguments]
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=40, env=clock.environment)
    finally:
        over.set()
        setter.join()
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((tmp_path / "result.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
@pytest.mark.parametrize(
    "load",
    [
        ("--tcp", "--engine", "portable"),
        ("--tcp", "--engine", "portable", "--rate", "200"),
        ("--udp", "--engine", "portable", "--rate", "200"),
        ("--connect",),
        ("--tls",),
        ("--tcp", "--engine", "columns"),
    ],
    ids=" ".join,
)
def test_a_run_takes_its_time(launch, tmp_path, load, step):
    pair = certificates.make(tmp_path)
    options = ("--tls-port", "0", "--certificate", str(pair.certificate), "--private-key", str(pair.key))
    server = launch("--interface", "127.0.0.1", *options)
    port = server.port("tls" if "--tls" in load else "port")
    how = ("--insecure",) if "--tls" in load else ()
    run(["--port", str(port), "--duration", "1", "--warmup", "0", "--cooldown", "0", *load, *how], tmp_path, step)

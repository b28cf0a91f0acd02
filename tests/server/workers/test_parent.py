"""The parent's means: descriptors after many restarts, and none left for another one."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
from rigs.crews import Flows, alive, restarted, talks, workers
from rigs.helpers import exchange, needs_linux, run, wait_for

resource = pytest.importorskip("resource")

pytestmark = [needs_linux, pytest.mark.slow]

RESTARTS = """
import os, signal, sys
from echobench.server.processes import parent
from echobench.server.workers import deaths

deaths.QUICK, deaths.FIRST = 0.0, 0.0
code = "import os; os.read(0, 1 << 16); os.write(1, b'{\\"ready\\":{}}\\\\n'); os.read(0, 1)"
parent.command = lambda number: [sys.executable, "-S", "-c", code]

from twisted.internet import reactor

placing = dict(port=0, interfaces=["127.0.0.1"], tcp=True, udp=True, tls_port=None, inherited=(), inherited_tls=(),
               receive_buffer=None, backlog=128)
server = parent.Parent(2, placing, {"close_timeout": 1.0, "max_connections": 5})
server.startService()
counts, killed = [], []

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def all_serve():
    workers = [place.current for place in server.places]
    return all(each is not None and each.ready_at is not None for each in workers) and (not killed or killed[-1].how)

def kill(_=None):
    if not all_serve():
        reactor.callLater(0.002, kill)
        return
    counts.append(descriptors())
    if len(killed) == 100:
        print("counts", sorted(set(counts)), flush=True)
        server.stopService().addCallback(lambda _: reactor.callLater(0, reactor.stop))
        return
    killed.append(server.places[len(killed) % 2].current)
    killed[-1].kill()
    reactor.callLater(0.002, kill)

server.when_failed().addCallback(lambda sentence: (print(sentence, flush=True), reactor.stop()))
reactor.callWhenRunning(lambda: server.begin().addCallback(kill))
reactor.run()
print("left", sorted(server.snapshots()), flush=True)
"""


def test_a_hundred_restarts_take_no_descriptor(tmp_path):
    done = run([sys.executable, "-c", RESTARTS], tmp_path)
    assert done.returncode == 0, done.stdout
    (counts,) = re.findall(r"counts \[(.*)\]", done.stdout)
    assert re.fullmatch(r"\d+", counts), f"always the same number, not {counts}"


def test_a_parent_without_descriptors_waits_for_some(launch):
    server = launch("--workers", "2")
    found = workers(server)
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    with talks(server.port(), [*found.values()], 1) as by_pid, Flows(server.port(), 32) as flows:
        try:
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, before[1]))
            os.kill(found[0], signal.SIGKILL)
            wait_for(lambda: not alive(found[0]))
            flows.send(5)
            wait_for(lambda: "worker 0 cannot be started at the moment: no file descriptor is left" in server.output)
            assert workers(server) == {1: found[1]}
            assert all(talk.exchange() for talk in by_pid[found[1]] for _ in range(100))
        finally:
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        restarted(server, 0, found[0])
        wait_for(flows.all_came)  # what came for the dead one has waited on its socket
    assert all(exchange(server.port(), [b"x"]) == b"x" for _ in range(8))
    assert "Traceback" not in server.output

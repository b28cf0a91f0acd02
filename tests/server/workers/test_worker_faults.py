"""What happens to everybody else when a worker is killed, stopped, or crashes again and again."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import pytest
from rigs.crews import Callers, Flows, alive, go_on, restarted, stop, talks, workers
from rigs.helpers import exchange, needs_linux, wait_for

pytestmark = [needs_linux, pytest.mark.slow]


def test_a_killed_worker_costs_nobody_but_its_own_connections(launch):
    server = launch("--workers", "2")
    pids = [*workers(server).values()]
    with Callers(server.port()) as callers, talks(server.port(), pids, 2) as by_pid:
        over = threading.Event()
        wrong = []

        def talk_on(talk):
            while not over.is_set():
                if not talk.exchange(30_000):
                    wrong.append(talk.sent)

        victim, survivor = pids
        threads = [threading.Thread(target=talk_on, args=(talk,)) for talk in by_pid[survivor]]
        for thread in threads:
            thread.start()
        number = next(number for number, pid in workers(server).items() if pid == victim)
        os.kill(victim, signal.SIGKILL)
        restarted(server, number, victim)
        over.set()
        for thread in threads:
            thread.join()
        assert not wrong
        for talk in by_pid[victim]:
            with pytest.raises((OSError, AssertionError)):
                assert talk.exchange()
    assert f"process {victim}, has ended: killed by SIGKILL; it is started again in 0.05 s" in server.output
    # A connection ends by a reset if the worker had not read what was sent, and else by an end of file.
    lost = [each for each in callers.failed if "reset" not in each and not each.startswith("0 bytes of")]
    assert not lost, "a caller of the killed worker's may be cut off, and nobody gets other bytes"
    assert len(callers.failed) <= 4, "each of the four callers has one connection at a time"


def test_what_is_queued_for_a_killed_worker_is_answered_by_its_successor(launch):
    """All workers stand still, so that every datagram is on a socket when one of them is killed."""
    server = launch("--workers", "2")
    found = workers(server)
    with Flows(server.port(), 32) as flows:
        try:
            for pid in found.values():
                stop(pid)
            flows.send(20)
            os.kill(found[0], signal.SIGKILL)
            restarted(server, 0, found[0])
        finally:
            go_on(*found.values())
        wait_for(flows.all_came)


def test_connections_that_wait_for_a_killed_worker_are_served_by_its_successor(launch):
    server = launch("--workers", "2")
    found = workers(server)
    results = []
    callers = [threading.Thread(target=lambda: results.append(exchange(server.port(), [b"x"]))) for _ in range(24)]
    try:
        for pid in found.values():
            stop(pid)
        for caller in callers:
            caller.start()
        time.sleep(0.2)  # they are queued, or come soon: either is served
        os.kill(found[1], signal.SIGKILL)
        restarted(server, 1, found[1])
    finally:
        go_on(*found.values())
    for caller in callers:
        caller.join()
    assert results == [b"x"] * 24


def test_a_stopped_worker_is_told_of_and_is_nobody_elses_trouble(launch):
    server = launch("--workers", "2")
    found = workers(server)
    with talks(server.port(), [*found.values()], 2) as by_pid, Flows(server.port(), 32) as flows:
        stop(found[0])
        try:
            flows.send(5)
            wait_for(lambda: re.search(rf"worker 0, process {found[0]}, has not reported for \d+ s", server.output))
            assert all(talk.exchange() for talk in by_pid[found[1]] for _ in range(100))
            wait_for(lambda: (flows.take(), flows.got)[1])  # of 32 flows the other one has some
        finally:
            go_on(found[0])
        assert all(talk.exchange() for talk in by_pid[found[0]]), "and it goes on where it was"
        wait_for(flows.all_came)
        wait_for(lambda: "worker 0 reports again" in server.output)
    assert workers(server) == found


def test_a_stopped_worker_is_replaced_if_that_is_wanted(launch):
    server = launch("--workers", "2", "--worker-timeout", "3")
    found = workers(server)
    with Flows(server.port(), 32) as flows:
        stop(found[0])
        flows.send(5)
        restarted(server, 0, found[0])
        wait_for(flows.all_came)
    assert not alive(found[0])
    assert re.search(r"worker 0, .*: killed, since it had not reported for \d+ s \(--worker-timeout\)", server.output)


CRASH = """
import os, signal, sys
if "echobench worker 1'" in " ".join(sys.orig_argv) and os.path.exists({flag!r}):
    os.kill(os.getpid(), signal.SIGABRT)
"""


def test_a_worker_that_crashes_in_a_loop_ends_the_whole(launch, tmp_path):
    flag = tmp_path / "crash"
    (tmp_path / "sitecustomize.py").write_text(CRASH.format(flag=str(flag)))
    server = launch("--workers", "2", env={"PYTHONPATH": str(tmp_path)})
    found = workers(server)
    flag.touch()
    os.kill(found[1], signal.SIGKILL)
    assert server.wait() == 1
    sentence = "worker 1 ended 8 times in a row as soon as it had started, the last time with: killed by SIGABRT"
    assert server.lines[-1] == f"echobench: {sentence}; the server ends, so that it can be started again"
    assert not any(map(alive, found.values()))
    assert "Traceback" not in server.output


def test_an_exception_in_a_worker_is_in_the_log(launch, tmp_path):
    flag = tmp_path / "crash"
    code = CRASH.format(flag=str(flag)).replace("os.kill(os.getpid(), signal.SIGABRT)", "raise SystemExit('spoilt')")
    (tmp_path / "sitecustomize.py").write_text(code)
    server = launch("--workers", "2", env={"PYTHONPATH": str(tmp_path)})
    flag.touch()
    os.kill(workers(server)[1], signal.SIGKILL)
    assert server.wait() == 1
    assert re.search("worker 1: .*spoilt", server.output)

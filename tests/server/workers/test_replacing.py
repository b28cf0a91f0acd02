"""SIGHUP replaces the workers one after the other, and nobody loses anything."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest
from rigs.crews import Callers, Flows, talks, workers
from rigs.helpers import (
    dial,
    fill,
    needs_linux,
    pattern,
    read_to_end,
    wait_for,
)

pytestmark = [needs_linux, pytest.mark.slow]


def test_sighup_replaces_the_workers_and_nobody_loses_anything(launch):
    server = launch("--workers", "2", "--close-timeout", "600", before=os.setsid)
    before = workers(server)
    with Flows(server.port(), 32) as flows, Callers(server.port()) as callers, dial(server.port()) as slow:
        sent = fill(slow, 64 << 20)
        slow.shutdown(socket.SHUT_WR)
        os.kill(server.pid, signal.SIGHUP)
        got = b""
        while "all workers have been replaced" not in server.output:
            flows.send(1)
            flows.take()
            time.sleep(0.01)
            if not got and server.output.count("serves, as process") == 4:  # both old ones have been told to end
                got = read_to_end(slow)
                slow.close()
            assert server.process.poll() is None, server.output
        wait_for(flows.all_came)
    assert got == pattern(sent), "a slow peer gets everything"
    assert callers.failed == []
    assert len(callers.took) > 20
    after = workers(server)
    assert sorted(after) == [0, 1]
    assert not set(after.values()) & set(before.values())
    assert server.stop() == -signal.SIGTERM
    assert "Traceback" not in server.output


def test_connections_of_a_replaced_worker_go_on(launch):
    server = launch("--workers", "2", "--close-timeout", "600", before=os.setsid)
    with talks(server.port(), [*workers(server).values()], 1) as by_pid:
        old = [talk for some in by_pid.values() for talk in some]
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: server.output.count("serves, as process") == 4)
        time.sleep(1.5)  # longer than a quiet peer is waited for when the server stops
        assert all(talk.exchange() for talk in old)
        assert "all workers have been replaced" not in server.output
    wait_for(lambda: "all workers have been replaced" in server.output)


def test_a_replaced_worker_drains_after_the_close_timeout(launch):
    server = launch("--workers", "2", "--close-timeout", "1", before=os.setsid)
    with talks(server.port(), [*workers(server).values()], 1) as by_pid:
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: "all workers have been replaced" in server.output)
        assert [talk.sock.recv(1) for some in by_pid.values() for talk in some] == [b""] * sum(
            map(len, by_pid.values())
        )
    assert "it is killed" not in server.output

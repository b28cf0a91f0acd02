"""Servers on this host that misbehave on purpose are recognised by their mark."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from echobench.host.marked import faults_at
from echobench.marks import LONGEST, PREFIX, Mark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are such files on Linux only")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_marked_process_is_found_by_its_port(kind, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, kind)
        sock.bind((host, 0))
    except OSError:
        pytest.skip("there is no IPv6 here")
    with sock:
        port = sock.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            assert faults_at(port) == ()
            sock.listen()
        mark = Mark(["udp:drop=1%,seed=7", "tcp:delay=5ms"])
        try:
            assert faults_at(port) == ("udp:drop=1%,seed=7; tcp:delay=5ms",)
            assert faults_at(1) == ()
        finally:
            mark.end()
            mark.end()
        assert faults_at(port) == ()


def test_long_rules_are_cut():
    mark = Mark(["x" * 1000])
    try:
        names = [os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if _is_there(each)]
        assert any(f"{PREFIX}xxx" in each and "xxx..." in each and len(each) < LONGEST + 20 for each in names)
    finally:
        mark.end()


def _is_there(descriptor):
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_where_there_are_no_such_files_nothing_happens(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    Mark(["drop=1%"]).end()


def test_nothing_is_read_of_a_system_without_proc(tmp_path):
    assert faults_at(7, tmp_path) == ()

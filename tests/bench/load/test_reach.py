"""Which of several addresses a run uses, and what is said when none can be used."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time

import pytest
from rigs import truth
from rigs.helpers import LIMIT, hosts, needs_linux, needs_root, wait_for

from echobench.bench.load import LoadError, checks, reach
from echobench.bench.load.failures import no_source
from echobench.bench.run.plan import Plan

needs_ipv6 = pytest.mark.skipif("::1" not in hosts(), reason="this machine has no IPv6")

HERE, THERE, NOWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def plan(transport="tcp", **settings):
    return Plan(host="name", transport=transport, **settings)


@contextlib.contextmanager
def silent(kind, host=THERE, port=0):
    """An address that says nothing, as one behind a firewall: over TCP, its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_INET, kind))
        sock.bind((host, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(0)
            for _ in range(2):
                full = stack.enter_context(socket.socket())
                full.setblocking(False)
                full.connect_ex(sock.getsockname())
        yield sock.getsockname()[1]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_one_address_is_not_tried(transport):
    assert reach.choose(plan(transport), [(NOWHERE, 1)]) == ((NOWHERE, 1), "")


@pytest.mark.parametrize(("transport", "server"), [("tcp", truth.TCP), ("udp", truth.UDP), ("tls", truth.TCP)])
def test_the_first_that_answers(transport, server):
    with server() as first:
        chosen, why = reach.choose(plan(transport), [(HERE, first.port), (NOWHERE, first.port)])
        assert (chosen, why) == ((HERE, first.port), "")
        chosen, why = reach.choose(plan(transport), [(NOWHERE, first.port), (HERE, first.port)])
    assert chosen == (HERE, first.port)
    assert why == f"name: {NOWHERE} refuses, so {HERE} is used"


@needs_linux
@pytest.mark.parametrize(("transport", "server"), [("tcp", truth.TCP), ("udp", truth.UDP)])
def test_a_silent_address_holds_up_nobody(transport, server):
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with server() as second, silent(kind, port=second.port):
        begun = time.monotonic()
        chosen, why = reach.choose(plan(transport), [(THERE, second.port), (HERE, second.port)])
        assert time.monotonic() - begun < reach.PATIENCE[transport]
    assert chosen == (HERE, second.port)
    assert why == f"name: {THERE} did not answer, so {HERE} is used"


@needs_linux
def test_over_udp_a_silent_address_is_the_last_resort():
    """A server that answers only what it knows says nothing to a question of ours; the run will tell."""
    with silent(socket.SOCK_DGRAM) as port:
        chosen, why = reach.choose(plan("udp"), [(NOWHERE, port), (THERE, port)])
    assert chosen == (THERE, port)
    assert why == f"name: {NOWHERE} refuses, so {THERE} is used"


@needs_linux
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_nobody_is_there(transport):
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with truth.nobody(kind) as port, pytest.raises(LoadError) as caught:
        reach.choose(plan(transport), [(HERE, port), ("255.255.255.255", port)])
    said = str(caught.value)
    assert said.startswith(f"name, {transport.upper()} port {port}, cannot be reached at any of its addresses (")
    assert f"{HERE} refuses; 255.255.255.255 cannot be reached: " in said


@needs_linux
def test_nobody_accepts_in_time(monkeypatch):
    monkeypatch.setitem(reach.PATIENCE, "tcp", 0.3)
    with silent(socket.SOCK_STREAM) as port, pytest.raises(LoadError, match=f"{THERE} did not answer within 0.3 s"):
        reach.choose(plan(), [(THERE, port), (HERE, 1)])


def test_the_question_leaves_from_the_source():
    with truth.TCP() as server:
        reach.choose(plan(sources=(THERE,)), [(HERE, server.port), (NOWHERE, server.port)])
        wait_for(lambda: server.peers)
    assert {host for host, _ in server.peers} == {THERE}


@needs_ipv6
def test_each_version_of_ip(monkeypatch):
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 7, 0, 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 7, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (HERE, 7)),
    ]

    def lookup(host, port, family, kind):
        return [each for each in both if family in (socket.AF_UNSPEC, each[0])]

    monkeypatch.setattr(checks.socket, "getaddrinfo", lookup)
    assert checks.resolve(plan()) == [("::1", 7), (HERE, 7)]
    assert checks.resolve(plan(family=4)) == [(HERE, 7)]
    assert checks.resolve(plan(family=6)) == [("::1", 7)]
    assert checks.resolve(plan("udp", size="65508")) == [("::1", 7)]
    both.pop(0), both.pop(0)
    with pytest.raises(LoadError, match="a datagram of 65508 bytes needs IPv6, and name has no such address"):
        checks.resolve(plan("udp", size="65508"))
    with pytest.raises(LoadError, match=r"the source 127\.0\.0\.1 cannot send over IPv6: leave out -6"):
        checks.resolve(plan(family=6, sources=(HERE,)))


@needs_ipv6
@pytest.mark.parametrize("size", [65508, 65527])
def test_datagrams_that_only_ipv6_takes(blast, size):
    with truth.UDP(host="::1") as server:
        ran = blast(server.port, address="::1", transport="udp", size=str(size), count=5, duration=10.0)
    assert ran.tally.answered == 5
    assert ran.tally.answered_bytes == 5 * size


def test_no_source_port_is_left():
    said = str(no_source("127.0.0.1 port 7", ("127.0.0.1", 7)))
    assert said.startswith("no source port is left for more flows to 127.0.0.1 port 7: ")


@needs_linux
@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["columns", "portable"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_link_local_addresses_and_no_ipv6_at_all(engine, transport):
    """In a namespace of its own: a zone counts, as a target and as a source; without IPv6 that is what is said."""
    name = f"echobench-{os.getpid()}"

    def ip(*words):
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout

    def inside(*words):
        return subprocess.run(["ip", "netns", "exec", name, *words], capture_output=True, text=True, timeout=LIMIT)

    def blast(*words):
        common = ("--duration", "0.2", "--warmup", "0", "--engine", engine, f"--{transport}", "--quiet")
        return inside(sys.executable, "-m", "echobench", "blast", *words, *common)

    ip("netns", "add", name)
    try:
        inside("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        for link in ("v0", "v1"):
            ip("-n", name, "link", "set", link, "up")
        ip("-n", name, "addr", "add", "fe80::1/64", "dev", "v0", "nodad")
        command = ["ip", "netns", "exec", name, sys.executable, "-c", ECHO, transport]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = server.stdout.readline().strip()
                for words in (["fe80::1%v0", port], [f"[fe80::1%v0]:{port}", "--source", "fe80::1%v0"]):
                    done = blast(*words)
                    assert (done.returncode, done.stderr) == (0, ""), done.stdout
            finally:
                server.kill()
        inside("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        done = blast("::1", "7")
        assert done.returncode == 1
        assert "::1 port 7 cannot be reached from here: this machine has no IPv6 address" in done.stderr
        assert "source" not in done.stderr
    finally:
        ip("netns", "delete", name)


ECHO = """
import socket, sys, threading
udp = sys.argv[1] == "udp"
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
sock.bind(("::", 0))
udp or sock.listen()
print(sock.getsockname()[1], flush=True)
def serve(peer):
    while data := peer.recv(1 << 16):
        peer.sendall(data)
while True:
    if udp:
        sock.sendto(*sock.recvfrom(1 << 16))
    else:
        threading.Thread(target=serve, args=(sock.accept()[0],), daemon=True).start()
"""

"""Whole verifications: of our server, of others whose faults are known, and of nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from rigs import faulty
from rigs.helpers import both_families, is_root, needs_linux, program, wait_for
from rigs.places import RIGS
from rigs.truth import UDP, nobody
from rigs.verifying import look

from echobench.bench.verify import CLAUSES, VerifyError, run, verify
from echobench.bench.verify.report import nobody as words

pytestmark = pytest.mark.slow

STOCK = RIGS / "stock_echo.py"
LOOPBACK = ["127.0.0.1", "::1"]


def failures(found):
    return {each.clause.id: each.seen for each in found.failed}


@both_families
def test_our_server_passes(launch, host):
    server = launch()
    told = []
    found = verify(host, server.port(), timeout=5, progress=lambda *each: told.append(each))
    assert failures(found) == {}
    assert found.passed
    assert found.addresses == (host,)
    assert [each.clause for each in found.outcomes] == list(CLAUSES)
    assert told == [(each, number, len(CLAUSES)) for number, each in enumerate(found.outcomes, 1)]
    unchecked = {each.clause.id for each in found.outcomes if each.verdict == "n/a"}
    assert unchecked <= {"udp-source-other", "udp-loop-guard"}
    if is_root:
        assert "are not answered" in found.outcomes[-1].seen


def test_the_essential_is_quick(launch):
    port = launch().port()
    took = []
    for _ in range(3):  # a busy machine may be slow once
        begun = time.monotonic()
        found = verify("127.0.0.1", port, essential=True)
        took.append(time.monotonic() - begun)
    assert min(took) < 1
    assert found.passed
    assert [each.clause.id for each in found.outcomes] == ["tcp-answer", "tcp-half-close", "udp-answer", "udp-source"]


@needs_linux
def test_the_essential_finds_answers_from_another_port():
    """A client with a connected socket, as blast's are, never gets them."""
    with UDP(elsewhere=True) as there:
        found = verify("127.0.0.1", there.port, transports=["udp"], essential=True)
    assert set(failures(found)) == {"udp-source"}
    assert (found.passed, found.nobody) == (False, False)


@needs_linux
def test_stock_twisted(launch):
    port = launch(command=[sys.executable, str(STOCK), "twisted"]).port()
    found = verify("127.0.0.1", port)
    seen = failures(found)
    assert set(seen) == {"tcp-half-close", "udp-largest", "udp-source-other"}
    assert "of 3,000,000 bytes had come back" in seen["tcp-half-close"]
    assert seen["udp-largest"] == "of 65,507 bytes only the first 8,192 came back"
    assert not found.passed
    assert any("no back-pressure was seen" in each.seen for each in found.outcomes)


def test_stock_asyncio(launch):
    """Its transports passed no empty datagram on; Python 3.13 lists the change (What is new: asyncio)."""
    port = launch(command=[sys.executable, str(STOCK), "asyncio"]).port()
    seen = failures(verify("127.0.0.1", port, transports=["udp"], timeout=1))
    assert set(seen) <= {"udp-size-0"}
    if sys.version_info < (3, 12):
        assert seen == {"udp-size-0": "an empty datagram, sent 3 times in 1 s, was not answered"}


@needs_linux
@pytest.mark.parametrize(
    ("options", "names"), [([], ["tcp-half-close"]), (["-u"], ["udp-size-0", "udp-largest"])], ids=["tcp", "udp"]
)
def test_ncat(options, names):
    ncat = program("ncat")
    with socket.socket(type=socket.SOCK_DGRAM if options else socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [ncat, *options, "-l", "-k", "127.0.0.1", str(port), "-e", "/bin/cat"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: look("udp-answer" if options else "tcp-answer", port).verdict == "ok")
        assert [look(name, port, timeout=1).verdict for name in names] == ["FAIL"] * len(names)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_nobody_at_all():
    with nobody() as port:
        found = verify("127.0.0.1", port, timeout=0.3)
    assert (found.passed, found.nobody) == (False, True)
    assert words(found).startswith(f"nobody serves echo on 127.0.0.1 port {port}: no TCP service: the connection was")
    assert "; no UDP service: " in words(found)


def test_one_transport_is_not_served():
    """That is a failure of its first clause, and the others are not tried, unless it was not asked for."""
    with UDP() as there:
        found = verify("127.0.0.1", there.port, timeout=1)
        assert list(failures(found)) == ["tcp-answer"]
        others = [each for each in found.outcomes if each.clause.transport == "tcp"][1:]
        assert {(each.verdict, each.seen) for each in others} == {("n/a", "not tried: tcp-answer says why")}
        assert (found.passed, found.nobody) == (False, False)
        assert verify("127.0.0.1", there.port, transports=["udp"], essential=True).passed


def test_a_fault_stops_no_other_check():
    """A server that answers wrongly is asked all the same."""
    with faulty.TCP(faulty.lines) as there:
        # Ten times as long for all of a check: 32 MiB through a server in Python take seconds on a busy machine.
        found = verify("127.0.0.1", there.port, transports=["tcp"], timeout=2.0, connections=5)
    assert {"tcp-prompt", "tcp-large"} <= set(failures(found))
    assert not [each for each in found.outcomes if each.verdict == "n/a"]


def test_a_mute_server_takes_no_longer_than_it_must():
    begun = time.monotonic()
    with faulty.TCP(faulty.mute) as there:
        found = verify("127.0.0.1", there.port, transports=["tcp"], timeout=0.3)
    assert time.monotonic() - begun < 5
    assert found.nobody


@pytest.mark.parametrize(
    ("host", "families", "said"),
    [
        ("127.0.0.1", [6], "127.0.0.1 has no address of IPv6"),
        ("::1", [4], "::1 has no address of IPv4"),
        ("x" * 70, [4, 6], "has no address: "),
        ("a..b", [4, 6], "has no address: "),
        ("224.0.0.1", [4, 6], "224.0.0.1 is not the address of one host"),
        ("255.255.255.255", [4, 6], "is not the address of one host"),
        ("0.0.0.0", [4, 6], "is not the address of one host"),
        ("ff02::1", [4, 6], "is not the address of one host"),
    ],
)
def test_whom_one_cannot_ask(host, families, said):
    with pytest.raises(VerifyError, match=said):
        verify(host, 7, families=families)


def test_each_family_once(monkeypatch):
    """The first address of each, and both are asked."""
    answers = [
        (socket.AF_INET6, 1, 6, "", ("::1", 9, 0, 0)),
        (socket.AF_INET, 1, 6, "", ("127.0.0.1", 9)),
        (socket.AF_INET, 1, 6, "", ("127.0.0.2", 9)),
    ]
    monkeypatch.setattr(run.socket, "getaddrinfo", lambda *_, **__: answers)
    assert [sockaddr[0] for _, sockaddr in run.resolve("name", 9, (4, 6))] == LOOPBACK
    assert [sockaddr[0] for _, sockaddr in run.resolve("name", 9, (6,))] == ["::1"]
    with nobody() as port:
        peers = [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port, 0, 0))]
        monkeypatch.setattr(run, "resolve", lambda *_: peers)
        found = verify("name", port, transports=["tcp"])
    assert len(found.outcomes) == 26
    assert "127.0.0.1: no TCP service: the connection was refused; ::1: " in words(found)

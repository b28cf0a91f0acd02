"""Every clause over UDP finds the server that has its fault, lets an honest one pass, and forgives a loss."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from rigs import faulty, truth
from rigs.helpers import both_families, needs_linux, needs_root
from rigs.truth import UDP, nobody
from rigs.verifying import CLAUSE, LONG, look, peer_at

from echobench.bench.verify import mailbox, sources, udp
from echobench.bench.verify.run import check


def no_empty_ones(data, n):
    return [(0, data)] if data else []


def until(number):
    return lambda data, n: [(0, data)] if n <= number else []


def changed(change):
    return lambda data, n: [(0, change(data))]


FAULTS = {
    "udp-answer": [
        (truth.mute, "no UDP service: 3 datagrams in 0.6 s, and no answer"),
        (truth.cut(7), "of 16 bytes only the first 7 came back"),
        (truth.grow, "instead of 16 bytes 17 others came back"),
        (truth.corrupt(4), "byte 5 of 16 was 0x62, and came back as 0x63"),
    ],
    "udp-size-0": [
        (no_empty_ones, "an empty datagram, sent 3 times in 0.6 s, was not answered"),
        (changed(lambda data: data or b"\0"), "instead of 0 bytes 1 others came back"),
    ],
    "udp-size-1": [(truth.cut(0), "of 1 byte only the first 0 came back")],
    "udp-size-512": [(truth.cut(511), "of 512 bytes only the first 511 came back")],
    "udp-size-1472": [(truth.cut(512), "of 1,472 bytes only the first 512 came back")],
    "udp-size-8192": [(truth.cut(2048), "of 8,192 bytes only the first 2,048 came back")],
    "udp-largest": [
        (truth.cut(8192), "of 65,507 bytes only the first 8,192 came back"),
        (lambda data, n: [(0, data)] if len(data) < 9216 else [], "a datagram of 65,507 bytes, sent 3 times in"),
    ],
    "udp-values": [
        (changed(lambda data: data.replace(b"\0", b"")), "instead of 256 bytes 255 others came back"),
        (changed(lambda data: bytes(each & 127 for each in data)), "byte 129 of 256 was 0x80, and came back as 0x00"),
        (changed(lambda data: data.partition(b"\n")[0]), "of 256 bytes only the first 10 came back"),
    ],
    "udp-once": [
        (truth.duplicate, " answers too many; it was tried 3 times"),
        (truth.every(8, truth.duplicate), "16 datagrams brought 2 answers too many; it was tried 3 times"),
        (truth.grow, "16 datagrams brought 16 that match no datagram"),
        (truth.mute, "16 datagrams brought no answer; it was tried 3 times"),
    ],
    "udp-burst": [
        (until(30), "34 of 64 datagrams were never answered, in 3 tries"),
        (truth.cut(100), "100 bytes came back to a source port that had not sent them"),
    ],
    "udp-ports": [(until(5), "59 of 64 source ports were never answered, in 3 tries")],
}


def test_every_clause_has_its_fault():
    """Those of sources are below."""
    of_sources = {"udp-source", "udp-source-other", "udp-connected", "udp-loop-guard"}
    assert {*FAULTS, *of_sources} == set(udp.CHECKS) == {name for name in CLAUSE if name.startswith("udp")}


@pytest.mark.parametrize(
    ("name", "behaviour", "seen"),
    [pytest.param(name, *each, id=f"{name}-{i}") for name, faults in FAULTS.items() for i, each in enumerate(faults)],
)
def test_a_fault_is_found(name, behaviour, seen):
    with UDP(behaviour) as there:
        outcome = look(name, there.port)
    assert outcome.verdict == "FAIL"
    assert seen in outcome.seen


@both_families
@pytest.mark.parametrize("name", [name for name in udp.CHECKS if name not in {"udp-loop-guard", "udp-source-other"}])
def test_an_honest_server_passes(name, host):
    with UDP(host=host) as there:
        outcome = look(name, there.port, host, timeout=LONG)
    assert outcome.verdict == "ok", outcome.seen


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in udp.CHECKS if name not in {"udp-loop-guard", "udp-source-other"}])
def test_a_loss_is_forgiven(name):
    with UDP(truth.at(1, truth.drop)) as there:
        outcome = look(name, there.port, timeout=1.2)
    assert outcome.verdict == "ok", outcome.seen


def test_a_loss_is_told():
    with UDP(truth.at(3, truth.drop)) as there:
        assert look("udp-burst", there.port, timeout=2.4).seen == "64 datagrams were answered; 1 had to be sent again"
    with UDP(truth.at(3, truth.drop)) as there:
        seen = look("udp-once", there.port, timeout=2.4).seen
    assert seen == "16 datagrams brought 15 answers, none of them twice; 1 lost"


def test_a_doubled_datagram_is_forgiven():
    with UDP(truth.at(3, truth.duplicate)) as there:
        assert look("udp-once", there.port).verdict == "ok"


def test_one_source_gets_all():
    with faulty.ToTheFirst() as there:
        outcome = look("udp-ports", there.port)
    assert outcome.verdict == "FAIL"
    assert "bytes came back to a source port that had not sent them" in outcome.seen


def test_another_port_answers():
    with UDP(elsewhere=True) as there:
        seen = look("udp-source", there.port).seen
        assert seen.startswith(f"a datagram to 127.0.0.1:{there.port} was answered from 127.0.0.1:")
        assert look("udp-source", there.port).verdict == "FAIL"
        outcome = look("udp-connected", there.port)
        assert outcome.verdict == "FAIL"
        assert outcome.seen == "3 datagrams in 0.6 s brought no answer from the address that they went to"
        # Where it came from is the business of these clauses only.
        assert look("udp-answer", there.port).verdict == "ok"


@needs_linux
def test_another_address_answers():
    with UDP(host="0.0.0.0") as there:
        outcome = look("udp-source-other", there.port)
        assert outcome.verdict == "FAIL"
        assert outcome.seen == f"a datagram to 127.0.0.2:{there.port} was answered from 127.0.0.1:{there.port}"


@needs_linux
def test_the_other_address_when_it_cannot_be_asked():
    with UDP() as there:
        outcome = look("udp-source-other", there.port)
        assert (outcome.verdict, outcome.seen[:43]) == ("n/a", "the server is not bound to all addresses: 1")
    assert look("udp-source-other", 9, "::1").verdict == "n/a"


def test_the_other_address_is_asked_of_this_machine_only(monkeypatch):
    monkeypatch.setattr(sources.sys, "platform", "linux")
    peer = peer_at(9, "192.0.2.1")
    assert not peer.local
    outcome, _ = check(sources.source_other, CLAUSE["udp-source-other"], peer)
    assert (outcome.verdict, outcome.seen) == ("n/a", "the server is not on this machine")


@pytest.fixture
def low_ports(monkeypatch):
    """Other ones than 7, 19 and 53, from which tests beside this one send."""
    first = 400 + 10 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    monkeypatch.setattr(sources, "LOW_PORTS", (first, first + 1, first + 2))
    return sources.LOW_PORTS


@needs_root
@pytest.mark.usefixtures("low_ports")
@pytest.mark.parametrize(
    ("behaviour", "seen"),
    [(truth.honest, "are answered: no guard against loops was seen"), (truth.mute, "are not answered: the server")],
)
def test_the_loop_guard(behaviour, seen):
    with UDP(behaviour) as there:
        outcome = look("udp-loop-guard", there.port)
    assert outcome.verdict == "note"
    assert seen in outcome.seen


def test_the_loop_guard_without_privilege(monkeypatch):
    real = socket.socket.bind

    def bind(self, address):
        if 0 < address[1] < 1024:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(self, address)

    monkeypatch.setattr("socket.socket.bind", bind)
    with UDP() as there:
        outcome = look("udp-loop-guard", there.port)
    assert (outcome.verdict, outcome.seen) == ("n/a", "sending from a port below 1024 needs privileges")


@needs_root
def test_the_loop_guard_when_ports_are_in_use(low_ports):
    one, other, third = low_ports
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, UDP() as there:
        taken.bind(("127.0.0.1", other))
        assert look("udp-loop-guard", there.port).seen.startswith(f"datagrams from port {one}, {third} are")


def test_nobody_is_absent():
    with nobody(socket.SOCK_DGRAM) as port:
        outcome = look("udp-answer", port)
    assert outcome.absent
    assert outcome.seen == "no UDP service: the port is refused (ICMP)"


def test_what_this_machine_does_not_send(monkeypatch):
    def sendto(self, data, address):
        raise OSError(errno.EMSGSIZE, "Message too long")

    class Small(socket.socket):
        pass

    Small.sendto = sendto
    monkeypatch.setattr(mailbox.socket, "socket", Small)
    outcome = look("udp-largest", 9)
    assert (outcome.verdict, outcome.seen) == ("n/a", "this machine sends no datagram of 65,507 bytes")

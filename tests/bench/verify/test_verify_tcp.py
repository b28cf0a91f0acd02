"""Every clause over TCP finds the server that has its fault, and lets an honest one pass."""

from __future__ import annotations

import errno
import re

import pytest
from rigs import faulty
from rigs.helpers import both_families
from rigs.truth import nobody
from rigs.undisturbed import repeated, unless_disturbed
from rigs.verifying import CLAUSE, LONG, look, peer_at

from echobench.bench.verify import tcp
from echobench.bench.verify.peer import Failed, Peer, Stream
from echobench.bench.verify.run import check

FAULTS = {
    "tcp-answer": [
        ({"handler": faulty.daytime}, "and 'Tuesday, February ' came back"),
        ({"handler": faulty.mute}, "no echo: the server accepts the connection, and nothing comes back"),
        ({"handler": faulty.goodbye}, ""),
        ({"handler": faulty.at_the_end}, "a line came back only after our half-close"),
        ({"handler": faulty.each(lambda data: data[::-1])}, "'echobench verify\\r\\n' was sent, and '\\n\\ryfirev"),
    ],
    "tcp-prompt": [
        ({"handler": faulty.lines}, "a byte did not come back within 0.6 s"),
        ({"handler": faulty.quota(3)}, "the connection "),  # its end or the reset, whichever is seen first
    ],
    "tcp-values": [
        ({"handler": faulty.each(lambda data: data.replace(b"\0", b""))}, "'\\x00\\x01"),
        ({"handler": faulty.each(lambda data: bytes(each & 127 for each in data))}, " was sent, and "),
        ({"handler": faulty.each(lambda data: data.replace(b"\xff\xf4", b""))}, "and '\\xff\\xfd\\x06' came back"),
        ({"handler": faulty.each(lambda data: data.replace(b"\r\n", b"\n"))}, " was sent, and "),
    ],
    "tcp-bytewise": [
        ({"handler": faulty.quota(20, reads=True)}, "the connection "),  # as above
        ({"handler": faulty.quota(1000)}, "the connection when "),
    ],
    "tcp-chunks": [
        ({"handler": faulty.each(lambda data: data[:512])}, "wrong from byte "),
        ({"handler": faulty.each(lambda data: data[:2048])}, "wrong from byte "),
        ({"handler": faulty.each(lambda data: data[::-1])}, "wrong from byte "),
        ({"handler": faulty.each(lambda data: data + data)}, ""),
    ],
    "tcp-large": [
        ({"handler": faulty.quota(1_000_000)}, "the connection when "),
        ({"handler": faulty.quota(1_000_000, hold=True)}, "nothing moved for 0.6 s when "),
    ],
    "tcp-half-close": [
        ({"handler": faulty.drops_at_the_end}, "the connection when "),
        ({"handler": faulty.never_closes}, "the server did not close within 0.6 s after our half-close"),
    ],
    "tcp-close": [
        ({"handler": faulty.never_closes}, "the server did not close within 0.6 s after our half-close"),
        ({"handler": faulty.adds_a_word}, "more came back than was sent: 'bye'"),
    ],
    "tcp-empty": [
        ({"handler": faulty.waits_for_data}, "the server did not close within 0.6 s"),
        ({"handler": faulty.adds_a_word}, "more came back than was sent: 'bye'"),
    ],
    "tcp-duplex": [
        ({"handler": faulty.quota(16 << 20, hold=True)}, "nothing moved for 0.6 s when "),
        ({"handler": faulty.quota(16 << 20)}, "the connection when "),
    ],
    "tcp-slow-reader": [
        ({"handler": faulty.loses_the_rest}, "wrong from byte "),
        ({"serial": True}, "6 bytes did not come back within 0.6 s"),
    ],
    "tcp-connections": [({"serial": True}, "of 200 open connections, 1 were answered within 0.6 s")],
    "tcp-reset": [({"frail": True}, "")],
}


def test_every_clause_has_its_fault():
    assert list(FAULTS) == list(tcp.CHECKS) == [name for name in CLAUSE if name.startswith("tcp")]


@pytest.mark.parametrize(
    ("name", "server", "seen"),
    [pytest.param(name, *each, id=f"{name}-{i}") for name, faults in FAULTS.items() for i, each in enumerate(faults)],
)
def test_a_fault_is_found(name, server, seen):
    with faulty.TCP(**server) as there:
        outcome = look(name, there.port)
    assert outcome.verdict == "FAIL"
    assert seen in outcome.seen


@both_families
@pytest.mark.parametrize("name", tcp.CHECKS)
def test_an_honest_server_passes(name, host):
    with faulty.TCP(host=host) as there:
        outcome = look(name, there.port, host, timeout=LONG)
    assert outcome.verdict == "ok", outcome.seen


@pytest.mark.slow
@repeated
def test_a_late_answer():
    """Within the time-out, and yet too late."""
    with faulty.TCP(faulty.after(1.1)) as there:
        outcome = look("tcp-prompt", there.port, timeout=LONG)
    assert outcome.verdict == "FAIL"
    assert re.fullmatch(r"a byte came back after \d\.\d s, and not within 1 s", outcome.seen)
    with unless_disturbed():
        assert outcome.seen == "a byte came back after 1.1 s, and not within 1 s"


def test_a_neighbour_that_must_wait():
    with faulty.OneThread() as there:
        outcome = look("tcp-slow-reader", there.port)
    assert outcome.verdict == "FAIL"
    assert "unread, on another connection: 9 bytes did not come back within 0.6 s" in outcome.seen


def test_back_pressure_is_told_from_hoarding():
    def hoards(sock):
        kept = [sock.recv(1 << 20)]
        sock.settimeout(0.3)
        while len(kept[0]) > 9:  # not the neighbours
            try:
                data = sock.recv(1 << 20)
            except TimeoutError:
                break
            kept.append(data)
        sock.settimeout(5)
        sock.sendall(b"".join(kept))
        faulty.honest(sock)

    with faulty.TCP() as there:
        assert "(back-pressure)" in look("tcp-slow-reader", there.port, timeout=LONG).seen
    with faulty.TCP(hoards) as there:
        outcome = look("tcp-slow-reader", there.port, timeout=LONG)
    assert outcome.verdict == "ok"
    assert outcome.seen.startswith("it took 64.0 MiB unread, and they came back whole; no back-pressure was seen")


def test_nobody_is_absent():
    with nobody() as port:
        outcome = look("tcp-answer", port)
    assert outcome.absent
    assert outcome.seen == "no TCP service: the connection was refused"


def test_a_server_that_is_gone_later_on():
    with nobody() as port:
        outcome = look("tcp-large", port)
    assert (outcome.verdict, outcome.absent, outcome.seen) == ("FAIL", False, "the connection was refused")
    with nobody() as port:
        seen = look("tcp-connections", port, connections=3).seen
    assert seen == "only 0 of 3 connections were accepted (the connection was refused): see --connections"


@repeated
def test_a_trickle_has_an_end():
    """What moves all the time, and slowly, is no failure, and is given up."""

    def trickles(sock):
        while data := sock.recv(100):
            sock.sendall(data)
            faulty.time.sleep(0.01)

    with faulty.TCP(trickles) as there:
        outcome = look("tcp-large", there.port, timeout=0.1)
    with unless_disturbed():
        assert (outcome.verdict, outcome.seen) == (
            "n/a", "data was still moving when the time was over: give a longer --timeout",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "verdict", "seen", "over"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "n/a", "it could not be checked: Too many open files", False),
        (OSError(errno.EIO, "Input/output error"), "FAIL", "Input/output error", False),
        (Failed("x"), "FAIL", "x", False),
    ],
)
def test_errors_are_sentences(error, verdict, seen, over):
    def function(peer: Peer) -> str:
        raise error

    outcome, stop = check(function, CLAUSE["tcp-large"], peer_at(9))
    assert (outcome.verdict, outcome.seen, stop) == (verdict, seen, over)


def test_no_way_there(monkeypatch):
    def connect(self, address):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("socket.socket.connect", connect)
    outcome = look("tcp-answer", 9)
    assert outcome.verdict == "n/a"
    assert outcome.seen == "it cannot be reached from here (Network is unreachable)"


def test_the_stream():
    stream = Stream(3)
    whole = bytes(stream.part(0, Stream.PERIOD))
    assert set(whole) == set(range(256))
    assert bytes(stream.part(Stream.PERIOD - 2, 4)) == whole[-2:] + whole[:2]
    stream.check(5 * Stream.PERIOD + 7, whole[7:20])
    with pytest.raises(Failed, match=r"wrong from byte 11 on: 0x.. came instead of 0x..$"):
        stream.check(8, whole[8:10] + bytes([whole[10] ^ 1]) + whole[11:20])

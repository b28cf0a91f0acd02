"""Windows that go back and forth in one piece, and what happens when one does not: nothing is lost or counted twice."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time

import pytest
from rigs.blasting import UNHURRIED, Blaster
from rigs.helpers import LIMIT, needs_linux
from rigs.truth import counted

from echobench.bench.load import stamps
from echobench.bench.load.payload import sequence
from echobench.bench.load.tape import LAP, Tape
from echobench.bench.run.plan import Plan, shares

pytestmark = needs_linux

UDP_SEGMENT, UDP_GRO = 103, 104  # linux/udp.h
SIZE, WINDOW = 100, 12


@pytest.fixture
def blast():
    return Blaster("columns")


class Server:
    """A thread that runs :meth:`serve` on a socket until the ``with`` block ends; what fails there fails the test."""

    kind = socket.SOCK_STREAM

    def __init__(self, fault=None, whole=frozenset()):
        self.fault, self.whole = fault or (lambda number, data: [data]), whole
        self.failed = []
        self.socket = socket.socket(type=self.kind)
        self.socket.bind(("127.0.0.1", 0))
        if self.kind == socket.SOCK_STREAM:
            self.socket.listen()
        self.port = self.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self.serve()
        except BaseException as error:
            self.failed.append(error)

    def serve(self):
        raise NotImplementedError

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.end()
        self._thread.join(LIMIT)
        self.socket.close()
        assert not self.failed, self.failed


class Trains(Server):
    """Answers a train with a train; the fault gives the trains with which the one of a number is answered.

    Answers to those of the numbers ``whole`` are one datagram each.
    """

    kind = socket.SOCK_DGRAM

    def serve(self):
        self.socket.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        self.lengths, self.sequences = [], []
        while True:
            data, _, _, peer = self.socket.recvmsg(1 << 16, 100)
            if data == b"end":
                return
            self.lengths.append(len(data))
            heads = [data[at : at + 8] for at in range(0, len(data), SIZE)]
            self.sequences += [sequence(0, int.from_bytes(head, "little")) for head in heads]
            for answer in self.fault(len(self.lengths), data):
                cut = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", SIZE))]
                if len(answer) <= SIZE or len(self.lengths) in self.whole:
                    cut = []
                self.socket.sendmsg([answer], cut, 0, peer)

    def end(self):
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", self.port))


def trains_or_skip():
    from echobench.engines.udp.trial import joins, trial

    if trial() is not None or not joins():
        pytest.skip("this kernel does not cut up trains")


def trains(blast, fault=None, rounds=50, **plan):
    trains_or_skip()
    with Trains(fault) as server:
        ran = blast(
            server.port, transport="udp", gso=True, size=str(SIZE), window=WINDOW, count=rounds * WINDOW,
            **{**UNHURRIED, **plan},
        )  # fmt: skip
    assert ran.tally.from_send.total == ran.tally.answered
    return ran, server


def at(number, answers):
    """Give an answer of its own to the train of that number."""
    return lambda n, data: answers(data) if n == number else [data]


def spoilt(data, position):
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_a_train_stays_one_train(blast):
    """Also where a flow's places wrap around, many times."""
    ran, server = trains(blast)
    assert counted(ran.tally) == {"answered": 600}
    assert server.lengths == [WINDOW * SIZE] * 50
    assert server.sequences == list(range(600))


def test_a_train_that_comes_back_in_parts(blast):
    """The parts are replaced each by itself, and nothing is lost."""
    ran, server = trains(blast, at(20, lambda data: [data[: 5 * SIZE], data[5 * SIZE :]]))
    assert counted(ran.tally) == {"answered": 600}
    assert sorted(server.sequences) == list(range(600))


@pytest.mark.parametrize("position", [0, 8, 16, SIZE * 7, SIZE * WINDOW - 1])
def test_a_byte_of_a_train_is_wrong(blast, position):
    ran, server = trains(blast, at(20, lambda data: [spoilt(data, position)]))
    assert counted(ran.tally) == {"answered": 599, "corrupted": 1}
    assert server.sequences == list(range(600))


def test_a_train_comes_twice(blast):
    """The second one comes while the next train is under way, or after it: its datagrams are known all the same."""
    ran, server = trains(blast, at(20, lambda data: [data, data]))
    assert counted(ran.tally) == {"answered": 600, "duplicates": WINDOW}
    assert server.sequences == list(range(600))


def test_an_old_train_comes_again(blast):
    kept = []

    def fault(number, data):
        kept.append(data)
        return [kept[-3], data] if number == 20 else [data]

    ran, server = trains(blast, fault)
    assert counted(ran.tally) == {"answered": 600, "duplicates": WINDOW}
    assert server.sequences == list(range(600))


def test_a_train_is_lost(blast):
    ran, server = trains(blast, at(20, lambda data: []), timeout=0.3)
    assert counted(ran.tally)["unanswered"] >= WINDOW
    assert ran.tally.intended == 600
    assert sorted(server.sequences) == list(range(600))


@pytest.mark.parametrize("window", [WINDOW, 70])
def test_a_train_comes_back_as_one_datagram(blast, window):
    """All bytes are right, but it is not what was sent: one datagram is too long, and the others are missing."""
    trains_or_skip()
    with Trains(whole={10}) as server:
        ran = blast(
            server.port, transport="udp", gso=True, size=str(SIZE), window=window, count=600, timeout=0.3,
            duration=40.0,
        )  # fmt: skip
    counts = counted(ran.tally)
    assert counts["corrupted"] == 1
    assert counts["unanswered"] >= server.lengths[9] // SIZE - 1


def test_the_last_trains_are_cut_to_the_count(blast):
    trains_or_skip()
    with Trains() as server:
        ran = blast(
            server.port, transport="udp", gso=True, size=str(SIZE), window=WINDOW, flows=3, count=100, **UNHURRIED
        )
    assert counted(ran.tally) == {"answered": 100}
    assert sum(server.lengths) == 100 * SIZE


def test_what_is_under_way_at_the_end_is_waited_for(blast):
    trains_or_skip()
    with Trains() as server:
        ran = blast(
            server.port, transport="udp", gso=True, size=str(SIZE), window=WINDOW, flows=2, duration=0.05, timeout=20.0
        )
    assert counted(ran.tally) == {"answered": ran.tally.intended}
    assert sum(server.lengths) >= ran.tally.intended * SIZE


def test_whole_trains_go_the_short_way():
    """Once the kernel makes stamps, which it begins some time after it was asked."""
    trains_or_skip()
    from echobench.bench.load.columns.udp_shuttles import ClosedTrains

    class Noting(ClosedTrains):
        others = 0

        def _take_trains(self, *given):
            self.others += 1
            return super()._take_trains(*given)

    with stamped(), Trains() as server:
        plan = Plan(
            host="127.0.0.1", transport="udp", gso=True, size=str(SIZE), window=WINDOW, count=50 * WINDOW, warmup=0.0,
            **UNHURRIED,
        )  # fmt: skip
        load = run(Noting, plan, server.port)
    assert (load.tally.answered, load.others) == (600, 0)


@contextlib.contextmanager
def stamped():
    """Have the kernel stamp what it receives, as long as the block lasts."""
    with socket.socket(type=socket.SOCK_DGRAM) as near, socket.socket(type=socket.SOCK_DGRAM) as far:
        near.bind(("127.0.0.1", 0))
        far.connect(near.getsockname())
        assert stamps.ask(near)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            far.send(b"x")
            threading.Event().wait(0.002)
            before = time.time_ns()
            _, control, _, _ = near.recvmsg(10, 100)
            came = stamps.stamp(control)
            if came is not None and came < before:  # else it was stamped when it was read
                break
        else:
            pytest.fail(f"the kernel did not begin to stamp within {LIMIT} s")
        yield


def run(kind, plan, port):
    load = kind(shares(plan)[0], ("127.0.0.1", port), lambda *_: None)
    load.open()
    try:
        load.run(time.perf_counter_ns())
    finally:
        load.close()
    return load


class Windows(Server):
    """Takes a whole window, sees that it is the next piece of the tape, and answers with what the fault says.

    The fault gives pieces, which are sent with a pause between them; None ends the connection.
    """

    def serve(self):
        self.rounds = 0
        peer, _ = self.socket.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tape = Tape(0)
        with peer:
            while data := take(peer, SIZE * WINDOW):
                self.rounds += 1
                assert data == b"".join(tape.pieces(len(data), 64))
                tape.forward(len(data))
                for piece in self.fault(self.rounds, data):
                    if piece is None:
                        return
                    with contextlib.suppress(ConnectionError):
                        peer.sendall(piece)
                    threading.Event().wait(0 if piece is data else 0.01)

    def end(self):
        pass


def take(peer, length):
    """Read so many bytes, or fewer if nothing more comes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while len(data) < length and (more := peer.recv(length - len(data))):
            data += more
    return data


def windows(blast, fault=None, rounds=300):
    with Windows(fault) as server:
        ran = blast(server.port, size=str(SIZE), window=WINDOW, count=rounds * WINDOW, **UNHURRIED)
    assert ran.tally.from_send.total == ran.tally.answered
    return ran, server


def test_windows_go_over_the_end_of_a_lap(blast):
    rounds = 3 * LAP // (SIZE * WINDOW)
    ran, server = windows(blast, rounds=rounds)
    assert counted(ran.tally) == {"answered": rounds * WINDOW, "connections": 1}
    assert ran.tally.answered_bytes == rounds * WINDOW * SIZE
    assert server.rounds == rounds


@pytest.mark.parametrize("cut", [1, SIZE, 5 * SIZE + 1, WINDOW * SIZE - 1])
def test_a_window_comes_back_in_pieces(blast, cut):
    ran, server = windows(blast, lambda n, data: [data[:cut], data[cut:]] if n % 20 == 0 else [data])
    assert counted(ran.tally) == {"answered": 300 * WINDOW, "connections": 1}
    assert server.rounds == 300


@pytest.mark.parametrize("position", [0, SIZE * 5 + 3, WINDOW * SIZE - 1])
def test_a_byte_of_a_window_is_wrong(blast, position):
    ran, _ = windows(blast, at(20, lambda data: [spoilt(data, position)]))
    whole = position // SIZE
    expected = {"answered": 19 * WINDOW + whole, "corrupted": 1, "refused": WINDOW - whole - 1}
    ends = {"connections": 1, "connections_lost": 1}
    assert counted(ran.tally) == {name: number for name, number in (expected | ends).items() if number}


def test_bytes_behind_a_window(blast):
    ran, _ = windows(blast, at(20, lambda data: [data + b"x"]))
    assert counted(ran.tally) == {
        "answered": 20 * WINDOW, "unexpected": 1, "connections": 1, "connections_lost": 1
    }  # fmt: skip


def test_the_connection_ends_instead(blast):
    ran, _ = windows(blast, at(20, lambda data: [None]))
    assert counted(ran.tally) == {
        "answered": 19 * WINDOW, "refused": WINDOW, "connections": 1, "connections_lost": 1
    }  # fmt: skip


def test_whole_windows_go_the_short_way():
    from echobench.bench.load.columns.tcp_shuttles import TcpShuttles

    class Noting(TcpShuttles):
        others = 0

        def _arrived(self, *given):
            self.others += 1
            super()._arrived(*given)

    with Windows() as server:
        plan = Plan(host="127.0.0.1", size=str(SIZE), window=WINDOW, count=100 * WINDOW, warmup=0.0, **UNHURRIED)
        load = run(Noting, plan, server.port)
    assert (load.tally.answered, load.others) == (100 * WINDOW, 1), "the last one is waited for by the stream"


@pytest.mark.parametrize("taken", [0, 1, SIZE * WINDOW - 1])
def test_a_window_of_which_the_kernel_takes_a_part(taken):
    """The rest is sent as soon as there is room."""
    from echobench.bench.load.columns.tcp_shuttles import TcpShuttles

    class Full(TcpShuttles):
        def start(self):
            super().start()
            (shuttle,) = self._all
            send, calls = shuttle.send, itertools.count(1)

            def part(data):
                if next(calls) % 10:
                    return send(data)
                if not taken:
                    raise BlockingIOError
                return send(data[:taken])

            shuttle.send = part

    with Windows() as server:
        plan = Plan(host="127.0.0.1", size=str(SIZE), window=WINDOW, count=300 * WINDOW, warmup=0.0, **UNHURRIED)
        load = run(Full, plan, server.port)
    assert counted(load.tally) == {"answered": 300 * WINDOW, "connections": 1}
    assert (load.tally.sent, server.rounds) == (300 * WINDOW, 300)

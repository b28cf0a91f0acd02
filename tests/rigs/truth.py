"""Echo servers whose faults are known exactly: what the bench says of them is checked against what they did.

Each is a thread with plain sockets on 127.0.0.1, and ends with the ``with`` block that it is used in. What it does is a
*behaviour*: a function of a message and its number (from 1 on, in the order of arrival) that gives the answers, each as
(seconds after the arrival, bytes), or None for an answer that ends the connection.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

Answers = list[tuple[float, "bytes | None"]]
Behaviour = Callable[[bytes, int], Answers]

SPIN = 0.002  # seconds before an answer is due, from which on we no longer sleep
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
ROOM = 1 << 22


def honest(data: bytes, n: int) -> Answers:
    """Echo."""
    return [(0, data)]


def mute(data: bytes, n: int) -> Answers:
    """Answer nothing."""
    return []


def every(number: int, fault: Behaviour) -> Behaviour:
    """Do it to every so many'th message, and echo the others."""
    return lambda data, n: fault(data, n) if n % number == 0 else [(0, data)]


def at(number: int, fault: Behaviour) -> Behaviour:
    """Do it to that message only, and echo the others."""
    return lambda data, n: fault(data, n) if n == number else [(0, data)]


def drop(data: bytes, n: int) -> Answers:
    """Answer nothing."""
    return []


def duplicate(data: bytes, n: int) -> Answers:
    """Answer twice."""
    return [(0, data), (0, data)]


def corrupt(*positions: int) -> Behaviour:
    """Turn a bit of one byte, each time the next one of these."""
    turns = itertools.cycle(positions)

    def fault(data: bytes, n: int) -> Answers:
        spoilt = bytearray(data)
        spoilt[next(turns)] ^= 1
        return [(0, bytes(spoilt))]

    return fault


def cut(length: int) -> Behaviour:
    """Answer with the first bytes only."""
    return lambda data, n: [(0, data[:length])]


def grow(data: bytes, n: int) -> Answers:
    """Answer with a byte too many."""
    return [(0, data + b"x")]


def delay(seconds: float) -> Behaviour:
    """Answer later."""
    return lambda data, n: [(seconds, data)]


def mixture(data: bytes, n: int) -> Answers:
    """Of 100 messages, 90 after 1 ms, 9 after 10 ms and one after 100 ms."""
    return [(0.1 if n % 100 == 50 else 0.01 if n % 11 == 5 and n % 100 < 99 else 0.001, data)]


def stall(number: int, seconds: float) -> Behaviour:
    """Do nothing at all for a while when that message comes, as a server that collects its garbage."""

    def fault(data: bytes, n: int) -> Answers:
        if n == number:
            time.sleep(seconds)
        return [(0, data)]

    return fault


def swap(number: int) -> Behaviour:
    """Keep every so many'th answer until the next message comes, and answer that one first."""
    kept: list[bytes] = []

    def fault(data: bytes, n: int) -> Answers:
        if n % number == 0:
            kept.append(data)
            return []
        return [(0, data), *((0.0, kept.pop()) for _ in kept[:])]

    return fault


def hang_up(data: bytes, n: int) -> Answers:
    """End the connection instead of an answer."""
    return [(0, None)]


class Server:
    """What all have in common: a thread, a queue of answers in the order of their due times, an end."""

    def __init__(self) -> None:
        self.seen = 0
        """Messages that came."""
        self._ending = threading.Event()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._fault: BaseException | None = None

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self._fault is not None:
            raise self._fault

    def _guarded(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self._fault = error

    def _serve(self) -> None:
        while not self._ending.is_set():
            wait = self._due[0][0] - time.perf_counter() - SPIN if self._due else 0.05
            self._look(max(0.0, min(wait, 0.05)))
            while self._due and self._due[0][0] <= time.perf_counter():
                heapq.heappop(self._due)[2]()

    def _look(self, wait: float) -> None:
        """Take what has come, having waited for it."""
        raise NotImplementedError

    def _later(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), what))


class UDP(Server):
    """A UDP server. With ``elsewhere`` it answers from another port than it was asked at."""

    def __init__(self, behaviour: Behaviour = honest, elsewhere: bool = False, host: str = "127.0.0.1") -> None:
        super().__init__()
        self._behaviour = behaviour
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self._from = self._socket
        if elsewhere:
            self._from = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._from.bind((host, 0))
        self.port = self._socket.getsockname()[1]
        self.peers: set[tuple[str, int]] = set()

    def _look(self, wait: float) -> None:
        if wait:
            select.select([self._socket], [], [], wait)
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                data, peer = self._socket.recvfrom(1 << 16)
                now = time.perf_counter()
                self.seen += 1
                self.peers.add(peer[:2])
                for seconds, answer in self._behaviour(data, self.seen):
                    assert answer is not None
                    if seconds:
                        self._later(now + seconds, lambda a=answer, p=peer: self._send(a, p))
                    else:
                        self._send(answer, peer)
                if self._due and self._due[0][0] <= now:
                    return

    def _send(self, answer: bytes, peer: Any) -> None:
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            self._from.sendto(answer, peer)

    def __exit__(self, *how: object) -> None:
        super().__exit__(*how)
        self._socket.close()
        self._from.close()


class TCP(Server):
    """A TCP server for messages of one size. Answers leave in order; ``reset`` ends connections by a reset."""

    def __init__(
        self, behaviour: Behaviour = honest, size: int = 64, reset: bool = False, host: str = "127.0.0.1"
    ) -> None:
        super().__init__()
        self._behaviour, self._size, self._reset = behaviour, size, reset
        self._listener = socket.create_server(
            (host, 0), backlog=1024, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self.ended: list[str] = []
        """How each connection ended that ended: ``end`` or ``reset`` by the peer, ``hung up`` by us."""
        self.peers: set[tuple[str, int]] = set()
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._open: dict[int, _Peer] = {}

    def _look(self, wait: float) -> None:
        for fd, _ in self._poll.poll(wait):
            if fd == self._listener.fileno():
                self._accept()
            elif fd in self._open:
                self._read(self._open[fd])

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, peer = self._listener.accept()
                self.accepted += 1
                self.peers.add(peer[:2])
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setblocking(False)
                self._open[sock.fileno()] = _Peer(sock)
                self._poll.register(sock, select.EPOLLIN)

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.sock.recv(1 << 18)
        except ConnectionResetError:
            return self._end(peer, "reset")
        except BlockingIOError:
            return None
        now = time.perf_counter()
        if not data:
            return self._end(peer, "end")
        peer.waiting += data
        while len(peer.waiting) >= self._size and not peer.gone:
            message = bytes(peer.waiting[: self._size])
            del peer.waiting[: self._size]
            self.seen += 1
            for seconds, answer in self._behaviour(message, self.seen):
                peer.last = max(peer.last, now + seconds)
                if peer.last <= now and not peer.queued:
                    self._send(peer, answer)
                else:
                    peer.queued += 1
                    self._later(peer.last, lambda a=answer: self._send_queued(peer, a))
        return None

    def _send_queued(self, peer: _Peer, answer: bytes | None) -> None:
        peer.queued -= 1
        self._send(peer, answer)

    def _send(self, peer: _Peer, answer: bytes | None) -> None:
        if peer.gone:
            return
        if answer is None:
            self._end(peer, "hung up")
            return
        try:
            peer.sock.settimeout(5)
            peer.sock.sendall(answer)
            peer.sock.setblocking(False)
        except (ConnectionError, TimeoutError):
            self._end(peer, "reset")

    def _end(self, peer: _Peer, how: str) -> None:
        peer.gone = True
        self.ended.append(how)
        self._poll.unregister(peer.sock)
        del self._open[peer.sock.fileno()]
        if how == "hung up":
            if self._reset:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                with contextlib.suppress(OSError):  # what is unread would turn our end into a reset
                    peer.sock.recv(1 << 18)
        peer.sock.close()

    def __exit__(self, *how: object) -> None:
        super().__exit__(*how)
        for peer in self._open.values():
            peer.sock.close()
        self._listener.close()
        self._poll.close()


class _Peer:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.waiting = bytearray()
        self.last = 0.0
        self.queued = 0
        self.gone = False


class Sink(Server):
    """Takes datagrams, says nothing, and knows when the kernel got each: ``arrivals``, in ns since the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self.arrivals: list[int] = []
        self.data: list[bytes] = []

    def _look(self, wait: float) -> None:
        select.select([self._socket], [], [], wait)
        with contextlib.suppress(BlockingIOError):
            while True:
                data, control, _, _ = self._socket.recvmsg(1 << 16, 256)
                for level, kind, value in control:
                    if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                        seconds, nanoseconds = struct.unpack("qq", value)
                        self.arrivals.append(seconds * 1_000_000_000 + nanoseconds)
                self.data.append(data)
                self.seen += 1

    def __exit__(self, *how: object) -> None:
        self._ending.set()
        self._thread.join(10)
        if self._fault is None:
            self._look(0)  # what came last
        super().__exit__(*how)
        self._socket.close()


@contextlib.contextmanager
def nobody(kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    """Give a port that refuses: it is bound, so that nobody else gets it, and does not listen (UDP: is connected)."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_DGRAM:
            sock.connect(("127.0.0.1", 9))  # so it takes datagrams from there only
        yield sock.getsockname()[1]


def counted(tally):
    """What is not 0, of where messages end and of what comes beside."""
    from echobench.bench.run.tally import ENDS

    names = (*ENDS, "duplicates", "reordered", "unexpected", "connections", "connections_lost", "our_receive_buffer")
    return {name: value for name in names if (value := getattr(tally, name))}

"""The checks over UDP. Each gives what it saw, or raises Failed or NotApplicable."""

from __future__ import annotations

import contextlib
import functools
import random
import socket
import time
from collections.abc import Callable
from typing import Final

import attrs

from . import sources
from .clauses import SIZES
from .mailbox import TRIES, Mailbox, connect, mailbox, many, same
from .peer import Absent, Failed, Peer

LARGEST: Final = {socket.AF_INET: 65507, socket.AF_INET6: 65527}
AFTER: Final = 0.2
"""Seconds to wait for a second answer, once the first is there."""


def answer(peer: Peer) -> str:
    """Send a small datagram."""
    data = b"echobench verify"
    begun = time.monotonic()
    with mailbox(peer) as box:
        try:
            got, _ = box.ask(data, tries=1)
        except Failed:
            _refusal(peer, data)
            try:
                got, _ = box.ask(data, tries=TRIES - 1)
            except Failed:
                raise Absent(f"no UDP service: {TRIES} datagrams in {peer.timeout:g} s, and no answer") from None
    same(data, got)
    return f"{len(data)} bytes came back after {(time.monotonic() - begun) * 1e3:,.1f} ms"


def _refusal(peer: Peer, data: bytes) -> None:
    """Find out whether the port is refused. Raises Absent.

    Only a connected socket is told (udp(7)).
    """
    with mailbox(peer) as box:
        connect(peer, box.socks[0])
        with contextlib.suppress(OSError):
            box.socks[0].send(data)
        box.wait(peer.timeout / TRIES, lambda: box.refused)
        if box.refused:
            raise Absent("no UDP service: the port is refused (ICMP)")


def size(number: int, peer: Peer) -> str:
    """Send a datagram of a size."""
    data = random.Random(peer.seed + number).randbytes(number)  # noqa: S311 - no secret
    with mailbox(peer) as box:
        same(data, box.ask(data)[0])
    return f"{many(data)} came back whole" if data else "an empty datagram came back"


def largest(peer: Peer) -> str:
    """Send the largest possible datagram."""
    return size(LARGEST[socket.AddressFamily(peer.family)], peer)


def values(peer: Peer) -> str:
    """Send every byte value in one datagram."""
    data = bytes(range(256))
    with mailbox(peer) as box:
        same(data, box.ask(data)[0])
    return "256 bytes, each with another value, came back unchanged"


@attrs.frozen
class _Trial:
    answered: int
    """How many of 16 datagrams brought an answer."""
    again: int
    """Answers beyond the first to the same datagram."""
    strange: int
    """Answers that match no datagram."""


def once(peer: Peer) -> str:
    """Count answers.

    A network may duplicate a datagram, so one clean trial is enough.
    """
    trials: list[_Trial] = []
    for _ in range(TRIES):
        trial = _once(peer)
        if trial.answered and not trial.again and not trial.strange:
            lost = f"; {16 - trial.answered} lost" if trial.answered < 16 else ""
            return f"16 datagrams brought {trial.answered} answers, none of them twice{lost}"
        trials.append(trial)
    worst = max(trials, key=lambda trial: (trial.again, trial.strange))
    found = [f"{worst.again} answers too many"] if worst.again else []
    found += [f"{worst.strange} that match no datagram"] if worst.strange else []
    raise Failed(f"16 datagrams brought {' and '.join(found) or 'no answer'}; it was tried {TRIES} times")


def _once(peer: Peer) -> _Trial:
    with mailbox(peer) as box:
        sock = box.socks[0]
        asked = {b"once %d" % index for index in range(16)}
        for data in asked:
            box.send(sock, data)
        box.wait(peer.timeout / TRIES, lambda: asked <= {got for got, _ in box.answers[sock]})
        box.wait(AFTER)
        answers = [got for got, _ in box.answers[sock]]
        known = [each for each in answers if each in asked]
        return _Trial(len(set(known)), len(known) - len(set(known)), len(answers) - len(known))


def burst(peer: Peer) -> str:
    """Send many at once from one socket."""
    asked = [b"burst %4d " % index + bytes(500) for index in range(64)]
    with mailbox(peer) as box:
        sock = box.socks[0]
        return _all(box, [(sock, data) for data in asked], "datagrams")


def ports(peer: Peer) -> str:
    """Send from many source ports, and see that each gets its own answer."""
    number = min(64, peer.connections)
    with mailbox(peer, number) as box:
        return _all(box, [(sock, b"port %d" % index) for index, sock in enumerate(box.socks)], "source ports")


def _all(box: Mailbox, asked: list[tuple[socket.socket, bytes]], what: str) -> str:
    """Send all datagrams, and again those without an answer. Raises Failed."""
    expected: dict[socket.socket, set[bytes]] = {}
    for sock, data in asked:
        expected.setdefault(sock, set()).add(data)

    def missing() -> list[tuple[socket.socket, bytes]]:
        got = {sock: {each for each, _ in answers} for sock, answers in box.answers.items()}
        for sock, answers in got.items():
            if wrong := answers - expected[sock]:
                raise Failed(f"{len(min(wrong)):,} bytes came back to a source port that had not sent them")
        return [(sock, data) for sock, data in asked if data not in got[sock]]

    resent = 0
    for attempt in range(TRIES):
        left = missing()
        if not left:
            break
        resent += len(left) if attempt else 0
        for sock, data in left:
            box.send(sock, data)
        box.wait(box.peer.timeout / TRIES, lambda: sum(map(len, box.answers.values())) >= len(asked) and not missing())
    if left := missing():
        raise Failed(f"{len(left)} of {len(asked)} {what} were never answered, in {TRIES} tries")
    again = f"; {resent} had to be sent again" if resent else ""
    return f"{len(asked)} {what} were answered{again}"


CHECKS: Final[dict[str, Callable[[Peer], str]]] = {
    "udp-answer": answer,
    **{f"udp-size-{number}": functools.partial(size, number) for number in SIZES},
    "udp-largest": largest,
    "udp-values": values,
    "udp-source": sources.source,
    "udp-source-other": sources.source_other,
    "udp-connected": sources.connected,
    "udp-once": once,
    "udp-burst": burst,
    "udp-ports": ports,
    "udp-loop-guard": sources.loop_guard,
}

"""Runs a verification: every check at every address, one after another."""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

import attrs

import echobench

from ...errors import EchobenchError
from ...host.marked import faults_at
from ...host.ownership import is_ours
from ...values import readable
from . import tcp, udp
from .clauses import CLAUSES, Clause
from .outcomes import FAIL, NA, NOTE, OK, Outcome, Verification
from .peer import LIMIT, Absent, Failed, NotApplicable, Peer, Unreachable, reason

Check = Callable[[Peer], str]
"""What makes a check: it gives what it saw, in a sentence, or raises Failed or NotApplicable."""

CHECKS: Final = {**tcp.CHECKS, **udp.CHECKS}
ECHO: Final[Mapping[Clause, Check]] = {clause: CHECKS[clause.id] for clause in CLAUSES}
FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
TRANSPORTS: Final = ("tcp", "udp")
OURS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}


UNREACHED: Final = "not reached: Ctrl-C ended the verification"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was seen until then."""

    def __init__(self, found: Verification) -> None:
        super().__init__()
        self.found = found


class VerifyError(EchobenchError):
    """There is nothing to verify; the message is one sentence."""


def verify(
    host: str,
    port: int = 7,
    *,
    families: Sequence[int] = (4, 6),
    transports: Sequence[str] = TRANSPORTS,
    essential: bool = False,
    clauses: Sequence[str] = (),
    timeout: float = 3.0,
    seed: int = 1,
    connections: int = 200,
    progress: Callable[[Outcome, int, int], None] | None = None,
    suite: Mapping[Clause, Check] = ECHO,
) -> Verification:
    """Check an echo server against RFC 862, and give what was seen.

    See ``passed`` and ``failed`` of the result. ``essential`` runs only the few clauses that take well under a second
    with a good server: a line and a half-close over TCP, a datagram over UDP. So a comparison sees that its subject is
    an echo server before it measures it::

        found = verify("127.0.0.1", port, families=(4,), transports=("tcp",), essential=True)
        if not found.passed:
            print("; ".join(f"{each.clause.id}: {each.seen}" for each in found.failed))

    ``clauses`` are the ids of those to check, if not all. For each of ``families``, the first address that the name has
    is checked. ``timeout`` is how long the server may be silent, in seconds. No check takes more than ten times that.
    ``connections`` is how many are opened at the same time. ``progress`` is called with each outcome, its number and
    how many there will be. ``suite`` has the clauses with their checks, in order; give your own for another protocol
    than echo, and let the first of each transport raise Absent if nobody serves it.

    It blocks: call it in a thread if there is a reactor to run. Raises VerifyError if the name has no address, and
    Interrupted, a KeyboardInterrupt, at a Ctrl-C.
    """
    peers = [
        Peer(family=family, sockaddr=sockaddr, timeout=timeout, seed=seed, connections=connections)
        for family, sockaddr in resolve(host, port, families)
    ]
    chosen = [
        each
        for each in suite
        if each.transport in transports and (each.essential or not essential) and (each.id in clauses or not clauses)
    ]
    faults = faults_at(port) if any(map(is_ours, (peer.address for peer in peers))) else ()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    outcomes: list[Outcome] = []

    def so_far(*, cut_short: bool) -> Verification:
        unreached = [(peer, clause) for peer in peers for clause in chosen][len(outcomes) :]
        return Verification(
            started=started,
            version=echobench.__version__,
            host=host,
            port=port,
            addresses=tuple(peer.address for peer in peers),
            transports=tuple(each for each in TRANSPORTS if each in {clause.transport for clause in chosen}),
            essential=essential,
            timeout=timeout,
            seed=seed,
            connections=connections,
            clauses=tuple(clauses),
            faults=faults,
            outcomes=(*outcomes, *(_unreached(peer, clause) for peer, clause in unreached)),
            cut_short=cut_short,
        )

    try:
        for peer in peers:
            for transport in TRANSPORTS:
                for outcome in _at(peer, [(each, suite[each]) for each in chosen if each.transport == transport]):
                    outcomes.append(outcome)
                    if progress is not None:
                        progress(outcome, len(outcomes), len(peers) * len(chosen))
    except KeyboardInterrupt:
        raise Interrupted(so_far(cut_short=True)) from None
    return so_far(cut_short=False)


def _unreached(peer: Peer, clause: Clause) -> Outcome:
    return Outcome(clause=clause, address=peer.address, verdict=NA, seen=UNREACHED, seconds=0.0)


def resolve(host: str, port: int, families: Sequence[int]) -> list[tuple[int, tuple[Any, ...]]]:
    """Give the name's first address of each family. Raises VerifyError.

    Each is a pair of the family and the address for connect().
    """
    found: dict[int, tuple[Any, ...]] = {}
    try:
        for family, _, _, _, sockaddr in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            found.setdefault(family, sockaddr)
    except (OSError, UnicodeError) as error:
        said = reason(error) if isinstance(error, OSError) else "it is not a host name"
        raise VerifyError(f"{readable(host)} has no address: {said}") from None
    peers = [(int(FAMILIES[each]), found[FAMILIES[each]]) for each in families if FAMILIES[each] in found]
    if not peers:
        raise VerifyError(f"{readable(host)} has no address of IPv{' or IPv'.join(map(str, families))}")
    for _, sockaddr in peers:
        address = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
        if address.is_multicast or address.is_unspecified or address.packed == b"\xff" * 4:
            raise VerifyError(f"{address} is not the address of one host")
    return peers


def _at(peer: Peer, clauses: Sequence[tuple[Clause, Check]]) -> Iterator[Outcome]:
    """Check one transport at one address; if nobody serves it, say so once."""
    nobody = ""
    for clause, function in clauses:
        if nobody:
            yield Outcome(clause=clause, address=peer.address, verdict=NA, seen=nobody, seconds=0.0)
            continue
        outcome, over = check(function, clause, peer)
        if over:
            nobody = f"not tried: {clause.id} says why"
        yield outcome


def check(function: Check, clause: Clause, peer: Peer) -> tuple[Outcome, bool]:
    """Make one check. Give its outcome, and whether the others need not be tried."""
    begun = time.monotonic()
    absent = over = False
    try:
        seen = function(attrs.evolve(peer, deadline=begun + LIMIT * peer.timeout))
        verdict = OK if clause.required else NOTE
    except Failed as error:
        seen, verdict = str(error), FAIL
        absent = over = isinstance(error, Absent)
    except NotApplicable as error:
        seen, verdict, over = str(error), NA, isinstance(error, Unreachable)
    except OSError as error:
        # The server is not to blame for what this machine cannot do.
        verdict = NA if error.errno in OURS else FAIL
        seen = f"it could not be checked: {reason(error)}" if verdict == NA else reason(error)
    seconds = time.monotonic() - begun
    found = Outcome(clause=clause, address=peer.address, verdict=verdict, seen=seen, seconds=seconds, absent=absent)
    return found, over

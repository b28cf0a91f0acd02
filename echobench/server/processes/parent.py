"""The parent of several workers, as one Twisted service: it binds, holds the sockets, and keeps the workers.

It is to a runner what EchoService is. Sockets are bound in ``privilegedStartService``, while the process is still
privileged; workers are started once the reactor runs, as the user that the process has become.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from ...clocks import steady
from ...counters import Snapshot
from ...queues import receive_drops
from ...reactors import Reactor, global_reactor
from ...sockets import BindError, close_all, no_descriptor
from ..binding import bind_everything, check_room
from ..certificate import CertificateError, Files, certificate_options, read_files
from ..where import address_of, announce, in_one_line, warn_of_faults
from ..workers.cpus import pins
from ..workers.crew import ANSWER, Crew
from ..workers.messages import Assignment
from ..workers.place import Place
from ..workers.process import Worker, descriptor_map, environment
from ..workers.shared import Rows, Shares
from ..workers.steering import SteeringError, advice, attach
from ..workers.twins import Bound, each_once, multiply, platform_of
from .worker import command

log = Logger()

_LIMITS: Final = ("max_connections", "max_connections_per_source", "udp_rate")
"""Arguments of EchoService that hold over all workers together."""


@attrs.define(eq=False, slots=False)
class Parent(Service):
    """A server of ``number`` worker processes.

    ``placing`` are the arguments of EchoService that say where to listen (see :func:`.binding.bind_everything`),
    ``serving`` those that each worker is made with; the values of ``serving`` can be written as JSON. ``timeout`` is
    for how many seconds a worker may report nothing before it is replaced; None is for ever.
    """

    number: int
    placing: dict[str, Any]
    serving: dict[str, Any]
    certificate: Files | None = None
    cpus: str | list[int] | None = None
    """``auto``, or the CPUs that the workers are pinned to in turn; None leaves it to the kernel."""
    steer: str = "hash"
    """How the kernel chooses a worker: by ``hash``, or by the ``cpu`` that a packet came in on."""
    timeout: float | None = None
    reactor: Reactor | None = None
    faults: Sequence[str] = ()
    """Rules of faults on purpose, with their seeds, which ``serving`` has too."""
    observed: bool = attrs.field(default=False, init=False)
    """Whether the workers are to tell what the metrics show."""
    departed: list[Callable[[Worker], None]] = attrs.field(factory=list, init=False, repr=False)
    """Are called with each worker that has ended."""

    places: list[Place] = attrs.field(factory=list, init=False, repr=False)
    _pins: list[int] | None = attrs.field(default=None, init=False)
    _rows: Rows | None = attrs.field(default=None, init=False)
    _salt: str = attrs.field(factory=lambda: secrets.token_hex(8), init=False, repr=False)
    _hash_seed: str = attrs.field(factory=lambda: str(1 + secrets.randbelow((1 << 32) - 1)), init=False, repr=False)
    _began: float = attrs.field(factory=time.monotonic, init=False)
    _crew: Crew | None = attrs.field(default=None, init=False)
    _past: dict[int, Snapshot] = attrs.field(factory=dict, init=False)
    """What workers did that have ended, by number."""
    _closed_drops: int = attrs.field(default=0, init=False)
    _failure: str | None = attrs.field(default=None, init=False)
    _watchers: list[Deferred[str]] = attrs.field(factory=list, init=False)

    @property
    def clock(self) -> Reactor:
        """The reactor."""
        if self.reactor is None:
            self.reactor = global_reactor()
        reactor: Reactor = self.reactor
        return reactor

    def seconds(self) -> float:
        """Read the monotonic clock of the reactor."""
        return float(steady(self.clock).seconds())

    def privilegedStartService(self) -> None:
        """Bind a socket of each kind for each worker, while still privileged. Raises BindError."""
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        """Bind the sockets, unless they are bound already. Raises BindError."""
        if self.running:
            return
        self._bind()
        try:
            check_room()
        except BaseException:
            self._close()
            raise
        super().startService()

    def begin(self) -> Deferred[None]:
        """Start the workers, now that the reactor runs; fires when all of them serve."""
        close_timeout = self.serving.get("close_timeout")
        self._crew = Crew(
            self.places, steady(self.clock), self._start, self._fail, self._gone, close_timeout=close_timeout,
            timeout=self.timeout,
        )  # fmt: skip
        if self.faults:
            warn_of_faults(log, self.faults)
        serving = self._crew.begin()
        return serving.addCallback(lambda _: announce(log, self.where()))

    def stopService(self) -> Deferred[None]:
        """Have all workers drain; fires when no process is left."""
        super().stopService()
        crew = self._crew
        done = succeed(None) if crew is None else crew.drain()
        self._close()
        return done

    def abort(self) -> None:
        """End every connection, and every worker, now."""
        if self._crew is not None:
            self._crew.abort()

    def replace(self) -> Deferred[None]:
        """Replace the workers one after the other; fires when all old ones have ended.

        They get a renewed certificate, if this process may read it.
        """
        if self.certificate is not None:
            try:
                renewed = read_files(self.certificate.certificate, self.certificate.key_file)
                certificate_options(renewed)
                self.certificate = renewed
            except CertificateError as error:
                log.warn("the certificate stays as it was: {error}", error=error, event="certificate_kept")
        return succeed(None) if self._crew is None else self._crew.replace()

    def when_failed(self) -> Deferred[str]:
        """Return a Deferred that fires with a sentence when the workers cannot be kept."""
        watcher: Deferred[str] = Deferred()
        if self._failure is None:
            self._watchers.append(watcher)
        else:
            watcher.callback(self._failure)
        return watcher

    def addresses(self) -> list[tuple[str, Any]]:
        """List pairs of a kind, ``tcp``, ``udp`` or ``tls``, and the Twisted address; none when nothing is bound."""
        return [(kind, address_of(sock)) for kind, sock in (self.places[0].sockets if self.places else [])]

    def processes(self) -> list[int]:
        """List the process ids of all workers, also of those that start or end."""
        return [] if self._crew is None else [worker.pid for worker in self._crew.workers]

    def where(self) -> str:
        """Return the addresses and the number of workers in one line, as in the log."""
        return " ".join(
            [f"{in_one_line(self.addresses())} workers={self.number}", *(f"FAULT={rule}" for rule in self.faults)]
        )

    def fresh(self, patience: float = ANSWER) -> Deferred[None]:
        """Have all workers report now; fires when they have, or after ``patience`` in seconds."""
        return succeed(None) if self._crew is None else self._crew.fresh(patience)

    def snapshots(self) -> dict[int, Snapshot]:
        """Return what the processes of each worker reported last, also those that have ended, by the worker's number.

        Reports come each second. What the kernel dropped is asked of the sockets here: processes come and go, and the
        sockets' own counts stay. It is left out where all workers share a socket.
        """
        found = {place.number: self._past.get(place.number, Snapshot()) for place in self.places}
        for worker in self._crew.workers if self._crew is not None else []:
            found[worker.number] += worker.snapshot
        shared = self._shared()
        for place in self.places:
            drops = sum(receive_drops(sock) for kind, sock in place.sockets if kind == "udp" and sock not in shared)
            found[place.number] = attrs.evolve(found[place.number], kernel_drops=drops)
        return found

    def snapshot(self) -> Snapshot:
        """Return the sum over all workers."""
        return attrs.evolve(sum(self.snapshots().values(), Snapshot()), kernel_drops=self._closed_drops + self._drops())

    def _shared(self) -> set[socket.socket]:
        if self.number == 1 or len(self.places) < 2:
            return set()
        return {sock for _, sock in self.places[0].sockets} & {sock for _, sock in self.places[1].sockets}

    def _drops(self) -> int:
        sockets = each_once(place.sockets for place in self.places)
        return sum(receive_drops(sock) for kind, sock in sockets if kind == "udp")

    def _bind(self) -> None:
        if any(place.sockets for place in self.places):
            return
        platform = platform_of()
        if self.cpus is not None or self.steer == "cpu":
            self._pins = pins("auto" if self.cpus is None else self.cpus, self.number)
        bound = bind_everything(**self.placing)
        inherited = [*self.placing["inherited"], *self.placing["inherited_tls"]]
        kinds = {name: self.placing[name] for name in ("backlog", "receive_buffer")}
        sockets = multiply(bound, inherited, self.number, platform=platform, **kinds)
        self.places = [Place(number, each) for number, each in enumerate(sockets)]
        try:
            if self.steer == "cpu":
                self._attach(inherited)
            if any(self.serving.get(name) is not None for name in _LIMITS):
                self._rows = _rows(2 * self.number)  # while workers are replaced, there are two in each place
        except BaseException:
            self._close()
            self.places.clear()
            raise

    def _attach(self, inherited: Sequence[socket.socket]) -> None:
        """Steer by CPU. Raises SteeringError."""
        assert self._pins is not None
        if inherited or self._shared():
            raise SteeringError(
                "--steer cpu needs a socket for each worker, and there is one for all (from systemd, or on this "
                "system): leave it out"
            )
        for _, sock in self.places[0].sockets:
            attach(sock, self._pins)
        for sentence in advice(self._pins):
            log.warn("--steer cpu: {sentence}", sentence=sentence, event="steering_advice")

    def _close(self) -> None:
        """Close the sockets, so that clients are refused."""
        self._closed_drops += self._drops()
        bound: Sequence[Bound] = each_once(place.sockets for place in self.places)
        close_all(sock for _, sock in bound)
        for place in self.places:
            place.sockets.clear()
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _start(self, place: Place) -> Worker:
        """Start a process. Raises OSError if there are no means for it."""
        try:
            check_room()
        except BindError as error:
            raise OSError(no_descriptor()) from error
        assert self._crew is not None
        row = None if self._rows is None else self._rows.take()
        worker = Worker(
            self._assignment(place, row),
            steady(self.clock).seconds,
            self._crew.ready,
            self._crew.reported,
            self._crew.ended,
        )
        descriptors = [sock.fileno() for _, sock in place.sockets]
        if self._rows is not None:
            descriptors.append(self._rows.descriptor)
        environ = {**environment(), "PYTHONHASHSEED": self._hash_seed}
        reactor: Any = self.clock
        try:
            reactor.spawnProcess(
                worker,
                sys.executable,
                command(place.number),
                env=environ,
                path=None,
                childFDs=descriptor_map(descriptors),
            )
        except BaseException as error:
            self._release(row)
            if isinstance(error, PermissionError):
                raise OSError(f"the user of this server may not run {sys.executable}") from error
            raise
        place.starts += 1
        return worker

    def _assignment(self, place: Place, row: int | None) -> Assignment:
        shares = None
        if row is not None and self._rows is not None:
            shares = Shares(row, self._rows.rows, self._salt, self._began)
        return Assignment(
            number=place.number,
            parent=os.getpid(),
            reactor=type(self.clock).__module__,
            kinds=[kind for kind, _ in place.sockets],
            arguments=self.serving,
            certificate=None if self.certificate is None else attrs.asdict(self.certificate),
            cpus=None if self._pins is None else [self._pins[place.number]],
            limits=None if shares is None else shares.as_json(),
            observed=self.observed,
        )

    def _release(self, row: int | None) -> None:
        if row is not None and self._rows is not None:
            self._rows.release(row)

    def _gone(self, worker: Worker) -> None:
        """Keep what a worker did that has ended."""
        for tell in self.departed:
            tell(worker)
        self._past[worker.number] = self._past.get(worker.number, Snapshot()) + worker.snapshot.over()
        self._release(worker.row)

    def _fail(self, sentence: str) -> None:
        self._failure = sentence
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(sentence)


def _rows(number: int) -> Rows:
    """Make the memory that the workers' limits are kept in. Raises BindError."""
    try:
        return Rows(number)
    except OSError as error:
        raise BindError(f"the workers cannot share their limits: {error.strerror or error}") from error

"""EchoWorkers: echo on several cores, as a service of another program.

It is the parent of the workers (parent.py), made with the arguments of EchoService. A worker is another process, in
which the program's modules, protocols and objects do not exist. So it serves echo alone, and its arguments are what
can be told in words and numbers; what cannot is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed

from ...defaults import PORT
from ...errors import EchobenchError
from ...reactors import Reactor
from ...values import LONGEST, check_real, check_whole, shown
from ..certificate import certificate_options, read_files
from ..service import EchoService
from ..workers.cpus import MOST_WORKERS, cores
from .parent import Parent

HERE_ALONE: Final = ("endpoints", "protocol", "datagram_protocol", "faults", "tls_options")
"""Arguments of EchoService that are objects of this process, or that mean one process."""

PLACING: Final = (
    "port", "interfaces", "tcp", "udp", "tls_port", "inherited", "inherited_tls", "receive_buffer", "backlog",
)  # fmt: skip
SERVING: Final = (
    "max_connections", "max_connections_per_source", "idle_timeout", "close_timeout", "udp_rate",
    "allow_low_source_ports", "defer_accept", "engine", "udp_engine", "spin",
)  # fmt: skip


class WorkersFailedError(EchobenchError):
    """Workers that cannot serve, or cannot be kept; the message is one sentence."""


class EchoWorkers(Parent):
    """A server of echo in worker processes, as a Twisted service.

    ``number`` is how many, or ``auto`` for one on each core. ``arguments`` are those of :class:`EchoService`, without
    the ones that a process cannot be told: ``endpoints``, ``protocol``, ``datagram_protocol``, ``faults`` and
    ``tls_options``. TLS takes the names of two files instead, PEM, of which the key's may be left out. ``cpus`` pins
    the workers: ``auto``, or a list of CPUs. ``steer`` is ``hash`` or ``cpu``. ``timeout`` is for how many seconds, 3
    at least, a worker may report nothing before it is replaced. See ``twistd echobench --help`` for the same options.

    The reactor has to start processes and notice their ends: run it in the main thread, with its own signal handlers,
    as ``reactor.run()`` does. Workers end when this process does, however it ends.

    Raises ValueError or TypeError for an argument that makes no sense, and EchobenchError for a certificate that cannot
    be used.
    """

    def __init__(
        self,
        number: int | str,
        port: int | None = PORT,
        interfaces: Sequence[str] = (),
        *,
        certificate: str | None = None,
        private_key: str | None = None,
        cpus: str | Sequence[int] | None = None,
        steer: str = "hash",
        timeout: float | None = None,
        reactor: Reactor | None = None,
        **arguments: Any,
    ) -> None:
        for name in HERE_ALONE:
            if name in arguments:
                raise TypeError(f"{name} cannot be told to another process: use an EchoService, or leave it out")
        if number == "auto":
            number = cores()
        check_whole("number", number, 1, MOST_WORKERS)
        if steer not in ("hash", "cpu"):
            raise ValueError(f"steer is 'hash' or 'cpu', not {shown(steer)}")
        if isinstance(cpus, str) and cpus != "auto":
            raise ValueError(f"cpus is 'auto' or a list of numbers, not {shown(cpus)}")
        if timeout is not None:
            check_real("timeout", timeout, LONGEST, "a number of seconds")
            if timeout < 3:
                raise ValueError(f"timeout is 3 seconds at least, since workers report each second, not {timeout}")
        files = None if certificate is None else read_files(certificate, private_key)
        tls = None if files is None else certificate_options(files)
        like = EchoService(port, interfaces, tls_options=tls, reactor=reactor, **arguments)  # it checks them
        super().__init__(
            int(number),
            {name: getattr(like, name) for name in PLACING},
            {name: getattr(like, name) for name in SERVING},
            files,
            cpus=cpus if cpus is None or isinstance(cpus, str) else list(cpus),
            steer=steer,
            timeout=timeout,
            reactor=reactor,
        )
        self._run: object = None
        self._serves = False
        self._waiting: list[Deferred[None]] = []

    def startService(self) -> None:
        """Bind the sockets, unless they are bound already, and start the workers as soon as the reactor runs.

        Raises BindError, whose text is one sentence; then nothing is bound.
        """
        if self.running:
            return
        super().startService()
        self._failure, self._serves = None, False
        self._run = run = object()
        self.when_failed().addCallback(self._give_up)
        self.clock.callWhenRunning(self._start_workers, run)

    def stopService(self) -> Deferred[None]:
        """Have all workers end in good order; fires when no process is left, after ``close_timeout`` at the latest."""
        self._run, self._serves = None, False
        self._give_up("the workers were stopped before they served")
        return super().stopService()

    def when_serving(self) -> Deferred[None]:
        """Return a Deferred that fires when all workers serve, or fails with a WorkersFailedError."""
        if self._failure is not None:
            return fail(WorkersFailedError(self._failure))
        if self._serves:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _start_workers(self, run: object) -> None:
        if run is self._run:
            self.begin().addCallback(self._note_service)

    def _note_service(self, _: Any) -> None:
        self._serves = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _give_up(self, sentence: str) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(WorkersFailedError(sentence))

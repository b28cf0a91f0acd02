"""Machines that are the workers of a Dask scheduler (the package ``distributed``), one generator a worker.

A worker is given a *task* that holds the agent, so that it takes no other meanwhile. What is said to the agent, and by
it, goes beside the task, by short calls to the worker: a task that was lost with its worker would stay pending for
ever, while such a call fails at once.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from . import ClusterError, in_worker
from .clocks import Reading
from .identity import Identity, difference, ours
from .machines import LOST, Event, Host
from .posts import Answer, Outbox

REACHING: Final = 5.0  # seconds for the scheduler; where nobody listens, Dask tries again for as long
CONNECTING: Final = 30.0  # seconds for the first answers of its workers
ANSWERING: Final = 5.0  # seconds for a worker to answer when it is asked for its clocks
PERIOD: Final = 0.2  # seconds between two looks at what an agent has said
MOST_LOOKS: Final = 200  # of all machines together, in a second: each passes through the scheduler
STOPPING: Final = 1.0  # seconds for all workers to end their agents; those who do not are ended by their lease
FILES: Final = ("tls_ca_file", "tls_client_cert", "tls_client_key")


class DaskMachines:
    """The workers of a scheduler."""

    def __init__(self, scheduler: str, tls: Sequence[str] = ()) -> None:
        """Connect. Raises ClusterError if there is nobody, or if anybody runs another version.

        ``tls`` has the files of the authority, of our certificate and of its key.
        """
        from distributed import Client, Security

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # each error is in a sentence of ours
        self._scheduler = scheduler
        self._events: queue.SimpleQueue[tuple[_Run, Event]] = queue.SimpleQueue()
        self._runs: dict[int, _Run] = {}
        security = Security(**dict(zip(FILES, tls, strict=True)), require_encryption=True) if tls else None
        try:
            self._client: Any = Client(scheduler, security=security, timeout=REACHING, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(f"the scheduler {scheduler} cannot be reached: {_text(error)}") from None
        try:
            self._addresses, self.hosts = self._find()
            self._check()
        except (OSError, KeyError, ValueError) as error:  # a scheduler or a worker that goes just now
            self.close()
            raise ClusterError(f"{scheduler} does not say what workers it has: {_text(error)}") from None
        except BaseException:
            self.close()
            raise

    def _find(self) -> tuple[list[str], tuple[Host, ...]]:
        info = Answer(lambda: self._client.scheduler_info(n_workers=-1)).within(CONNECTING)
        workers: dict[str, dict[str, Any]] = info["workers"]
        if not workers:
            raise ClusterError(
                f"the scheduler {self._scheduler} has no workers: start `dask worker {self._scheduler} --nthreads 1` "
                "on each machine that is to send"
            )
        named = _names(workers)
        return list(named), tuple(Host(name, workers[address]["host"]) for address, name in named.items())

    def _check(self) -> None:
        """See that all run this version, before anything else is sent. Raises ClusterError."""
        try:
            known = Answer(lambda: self._client.get_versions(check=False, packages=["echobench"])).within(CONNECTING)
        except ClusterError:
            raise ClusterError(
                f"not all workers of {self._scheduler} answer within {CONNECTING:.0f} s: end those that stand still"
            ) from None
        names = dict(zip(self._addresses, (host.name for host in self.hosts), strict=True))
        wrong = []
        for address, name in names.items():
            version = known["workers"].get(address, {}).get("packages", {}).get("echobench")
            if version != ours().version:
                wrong.append(f"{name}: it has {f'echobench {version}' if version else 'no echobench'}")
        if wrong:
            raise ClusterError(f"{'; '.join(wrong)}; here is {ours()}: install the same on all")
        for address in self._addresses:
            try:
                found: Identity = self._ask(address, CONNECTING, in_worker.identity)
            except Exception as error:  # noqa: BLE001 (whatever the worker raised)
                raise ClusterError(f"{names[address]}: it cannot say what it is: {_text(error)}") from None
            if different := difference(found, ours()):
                raise ClusterError(f"{names[address]}: {different}")

    def _ask(self, address: str, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """Have a worker call a function beside its tasks, and return what it gives."""
        return Answer(lambda: self._client.run(function, *arguments, workers=[address])[address]).within(seconds)

    def clock(self, number: int) -> Reading:
        """Ask a worker for its clocks."""
        try:
            found: Reading = self._ask(self._addresses[number], ANSWERING, in_worker.clock)
        except ClusterError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever went wrong on the way)
            raise ClusterError(_text(error)) from None
        return found

    def start(self, number: int, order: str) -> None:
        """Submit a task that holds an agent."""
        period = max(PERIOD, len(self.hosts) / MOST_LOOKS)
        self._runs[number] = _Run(self._client, self._addresses[number], order, period, self._hearing(number))

    def _hearing(self, number: int) -> Callable[[_Run, str, Any], None]:
        def hear(run: _Run, word: str, said: Any) -> None:
            self._events.put((run, (number, word, said)))

        return hear

    def tell(self, number: int, line: str) -> None:
        """Give the agent a line."""
        self._runs[number].outbox.put(line)

    def heard(self, timeout: float) -> Event | None:
        """Wait for an event; what an earlier run left behind is none."""
        try:
            while True:
                run, event = self._events.get(timeout=timeout) if timeout else self._events.get_nowait()
                if self._runs.get(event[0]) is run:
                    return event
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End all agents."""
        runs, self._runs = list(self._runs.values()), {}
        ends = [Answer(run.end) for run in runs]
        deadline = time.monotonic() + STOPPING
        for end in ends:
            with contextlib.suppress(Exception):  # it is gone, or does not answer
                end.within(deadline - time.monotonic())

    def close(self) -> None:
        """Stop, and leave the scheduler."""
        self.stop()
        with contextlib.suppress(Exception):
            Answer(lambda: self._client.close(timeout=1)).within(STOPPING)


class _Run:
    """An agent on a worker."""

    def __init__(
        self, client: Any, address: str, order: str, period: float, hear: Callable[[_Run, str, Any], None]
    ) -> None:
        self._client, self._address, self._hear = client, address, hear
        self._key = f"echobench-{uuid.uuid4().hex}"
        self._over = threading.Event()
        self._future = client.submit(
            in_worker.hold, self._key, order,
            key=self._key, workers=[address], allow_other_workers=False, retries=0, pure=False,
        )  # fmt: skip
        self._future.add_done_callback(self._done)
        self.outbox = Outbox(self._exchange, period)

    def _done(self, future: Any) -> None:
        if future.status == "error":
            self._lose(f"its task failed: {_text(future.exception(timeout=1))}")

    def _exchange(self, lines: Sequence[str]) -> None:
        if self._over.is_set():
            return
        try:
            said = self._client.run(in_worker.exchange, self._key, list(lines), workers=[self._address])[self._address]
        except Exception as error:  # noqa: BLE001 (whatever it is, the worker cannot be reached)
            self._lose(f"its worker is gone: {_text(error)}")
            return
        for word, value in said:
            self._hear(self, word, value)
            if word == "end":
                self._over.set()

    def _lose(self, why: str) -> None:
        if not self._over.is_set():
            self._over.set()
            self._hear(self, LOST, why)

    def end(self) -> None:
        """End the agent and the task; this may wait for a worker that does not answer."""
        self._over.set()
        self.outbox.close()
        try:
            self._client.run(in_worker.end, self._key, workers=[self._address])
        finally:
            self._future.cancel()


def _names(workers: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Name all workers, by their addresses, in the order of their names; no two have the same."""
    named = {address: _name(address, each, workers) for address, each in workers.items()}
    often = Counter(named.values())
    unique = {address: name if often[name] == 1 else address.partition("://")[2] for address, name in named.items()}
    return dict(sorted(unique.items(), key=lambda each: _in_order(each[1])))


def _in_order(name: str) -> list[tuple[int, str]]:
    """Give a key by which names are in order, and the numbers in them too: load9 comes before load10."""
    return [(int(each), "") if each.isdecimal() else (-1, each) for each in re.split(r"([0-9]+)", name)]


def _name(address: str, worker: dict[str, Any], workers: dict[str, dict[str, Any]]) -> str:
    """Name a worker: as ``--name`` does, or by its computer, with the port if there are several on it."""
    if worker["name"] != address:
        return str(worker["name"])
    alone = sum(each["host"] == worker["host"] for each in workers.values()) == 1
    return str(worker["host"]) if alone else address.partition("://")[2]


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

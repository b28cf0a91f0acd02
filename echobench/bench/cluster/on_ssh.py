"""Machines reached over the user's own ssh, by execnet: nothing runs there before, and nothing stays.

execnet starts a Python on the machine and speaks with it over ssh's pipes. When the connection ends, however it does,
that Python ends its agent. What may log in where, and with which key, is ssh's business alone.
"""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from . import ClusterError
from .clocks import Reading
from .identity import Identity, difference, ours
from .machines import LOST, Event, Host
from .posts import Answer, Outbox

CONNECTING: Final = 20.0  # seconds for ssh, which has more patience than its own ConnectTimeout
OPTIONS: Final = "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=1 -o ServerAliveCountMax=5"
"""Of ssh: never ask anything, and notice within seconds that a machine has gone."""
ANSWERING: Final = 5.0  # seconds for a machine to say its time
STOPPING: Final = 1.0  # seconds for all machines to end their agents
GONE: Final = "the ssh connection to it has ended"
LEAVING: Final = 0.5  # seconds for execnet to end a connection, before it kills ssh

# What a machine's Python does first: say what it is. It may not have the package, so it gets only this.
HELLO: Final = """
import platform
try:
    from echobench.bench.cluster.identity import ours
    found = ours()
    channel.send([found.version, found.source, found.python])
except ImportError as error:
    channel.send(["", str(error), platform.python_version()])
else:
    from echobench.bench.cluster.over_channel import serve
    serve(channel)
"""


class SshMachines:
    """Machines to which there is an ssh connection each."""

    def __init__(self, hosts: Sequence[str], python: str) -> None:
        """Connect to all. Raises ClusterError with what is wrong with each that cannot be used."""
        self.hosts = tuple(Host(host, host.rpartition("@")[2]) for host in hosts)
        self._events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        self._clocks: list[queue.SimpleQueue[Reading]] = [queue.SimpleQueue() for _ in hosts]
        self._lost: set[int] = set()
        self._ended = [threading.Event() for _ in hosts]
        self._runs = [0] * len(hosts)
        self._closing = False
        import execnet

        self._group: Any = execnet.Group()
        began = time.monotonic()
        calls = [Answer(self._opening(host, python)) for host in hosts]
        opened, wrong = [], []
        for host, call in zip(hosts, calls, strict=True):
            try:
                opened.append(call.within(CONNECTING, began))
            except ClusterError as error:
                wrong.append(f"{host}: {error}")
        if wrong:
            self._leave()
            raise ClusterError("; ".join(wrong))
        self._channels = opened
        self._outboxes = [Outbox(self._sender(number)) for number in range(len(hosts))]
        for number, channel in enumerate(opened):
            channel.setcallback(self._receiver(number), endmarker=None)

    def _opening(self, host: str, python: str) -> Callable[[], Any]:
        def opening() -> Any:
            # Ctrl-C in a terminal goes to every process in it, and must not cut the line to the machines: so the ssh
            # that this thread starts has the signal blocked, which it inherits.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                gateway = self._group.makegateway(f"ssh={OPTIONS} {host}//python={python}")
                channel = gateway.remote_exec(HELLO)
                version, source, found = channel.receive(CONNECTING)
            except Exception as error:  # noqa: BLE001 (execnet has an error for each way, and passes on others)
                raise ClusterError(
                    f"no Python can be started there over ssh ({type(error).__name__}): "
                    f"does `ssh -o BatchMode=yes {host} {python} -V` work?"
                ) from None
            if not version:
                raise ClusterError(
                    f"its {python} (Python {found}) has no echobench ({source}): install it there, or name the Python "
                    "that has it with --ssh-python"
                )
            if wrong := difference(Identity(version, source, found), ours()):
                raise ClusterError(wrong)
            return channel

        return opening

    def _receiver(self, number: int) -> Callable[[str | None], None]:
        def received(text: str | None) -> None:
            if text is None:
                self._lose(number)
                return
            run, word, said = json.loads(text)
            if word == "clock":
                self._clocks[number].put((said[0], said[1]))
            elif word == "ended":
                self._ended[number].set()
            else:
                self._events.put((run, (number, word, said)))

        return received

    def _sender(self, number: int) -> Callable[[Sequence[str]], None]:
        def send(lines: Sequence[str]) -> None:
            try:
                for line in lines:
                    self._channels[number].send(line)
            except OSError:
                self._lose(number)

        return send

    def _lose(self, number: int) -> None:
        if number not in self._lost and not self._closing:
            self._lost.add(number)
            self._events.put((self._runs[number], (number, LOST, GONE)))

    def clock(self, number: int) -> Reading:
        """Ask a machine for its clocks."""
        while not self._clocks[number].empty():  # an answer that came too late
            self._clocks[number].get()
        self._outboxes[number].put("clock")
        try:
            return self._clocks[number].get(timeout=ANSWERING)
        except queue.Empty:
            raise ClusterError("it does not answer") from None

    def start(self, number: int, order: str) -> None:
        """Have it start an agent."""
        self._runs[number] += 1
        if number in self._lost:
            self._events.put((self._runs[number], (number, LOST, GONE)))
        self._outboxes[number].put(f"start {self._runs[number]} {order}")

    def tell(self, number: int, line: str) -> None:
        """Give its agent a line."""
        self._outboxes[number].put(f"tell {line}")

    def heard(self, timeout: float) -> Event | None:
        """Wait for an event; what an earlier run left behind is none."""
        try:
            while True:
                run, event = self._events.get(timeout=timeout) if timeout else self._events.get_nowait()
                if run == self._runs[event[0]]:
                    return event
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End all agents; those of machines that do not take it are ended with the connection, or by their lease."""
        there = [number for number in range(len(self.hosts)) if number not in self._lost]
        for number in there:
            self._ended[number].clear()
            self._outboxes[number].put("end")
        deadline = time.monotonic() + STOPPING
        for number in there:
            self._ended[number].wait(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Stop, and end the connections."""
        self._closing = True
        self.stop()
        for outbox in self._outboxes:
            outbox.close()
        self._leave()

    def _leave(self) -> None:
        closing = threading.Thread(target=self._group.terminate, args=(LEAVING,), daemon=True)
        closing.start()
        closing.join(2 * LEAVING + 1.0)

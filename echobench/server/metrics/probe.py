"""Asks the server for a real echo, as a client on the same host would.

A process that runs may still serve nobody. So each address that it listens on is sent some bytes, which must come back.
Addresses for all are asked over loopback. What a limit of the operator's refuses (the server is full, the source has
had its rate of datagrams) is told apart from silence.

Of several workers the kernel chooses the one that gets the question. So each of them is asked for a report, too, which
its reactor must make.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone

from ...clocks import steady
from ...counters import Reason
from .sample import Fresh, Sample, State, at_once, total, workers

PATIENCE: Final = 0.9
"""Seconds for an answer: orchestrators give a probe one second by default."""
LATE: Final = 0.05
"""Seconds for workers to say that a limit refused the question, once it has not been answered."""
FIRST_WAIT: Final = 0.002
"""Seconds until the echo of a datagram is looked for; then twice as long each time."""
LONGEST_WAIT: Final = 0.05
LIMITS: Final = (Reason.MAX_CONNECTIONS, Reason.MAX_CONNECTIONS_PER_SOURCE, Reason.UDP_RATE)
"""Reasons that are limits of the operator's."""
LOOPBACK: Final = {"": ("127.0.0.1",), "0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1")}
"""Whom to ask for those that listen on all addresses; of several, one that answers is enough."""


@attrs.frozen
class Answer:
    """What came of asking at one address."""

    kind: str
    """tcp, udp, tls, or worker."""
    where: str
    echoes: bool
    limited: bool = False
    """Whether a limit refused the question, or a worker is being started: to start the server again would not help."""
    seconds: float = 0.0
    """How long the echo took; of several questions, the first one that was answered."""
    said: str = ""
    """What a worker does, or why an address may not echo."""

    def __str__(self) -> str:
        """Say it in a line."""
        if self.said:
            return f"{self.kind} {self.where} {self.said}"
        if self.echoes:
            return f"{self.kind} {self.where} echoes ({self.seconds * 1000:.1f} ms)"
        said = "refuses: a limit is reached" if self.limited else f"has not echoed within {PATIENCE:g} s"
        return f"{self.kind} {self.where} {said}"


def presence(sample: Sample, waited: float) -> Answer:
    """Say whether a worker has reported since it was asked to, ``waited`` seconds ago."""
    starting, here = sample.state is State.STARTING, sample.age <= waited
    said = State.STARTING.value if starting else "reports" if here else f"has not reported for {sample.age:.1f} s"
    return Answer("worker", sample.worker, here and not starting, starting, said=said)


class Probe:
    """Asks at all ``addresses``, which are pairs of a kind and a Twisted address, and each of several workers.

    ``samples`` tell what was refused, and ``fresh`` asks the workers for them.

    Whoever asks while a question is under way gets the same answers.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[tuple[str, Any]]],
        samples: Callable[[], Sequence[Sample]],
        reactor: Any,
        fresh: Fresh = at_once,
    ) -> None:
        self._addresses, self._samples, self._reactor, self._fresh = addresses, samples, reactor, fresh
        self._waiting: list[Deferred[list[Answer]]] = []

    def ask(self) -> Deferred[list[Answer]]:
        """Ask everywhere; fires with one answer for each address, within :data:`PATIENCE`."""
        waiter: Deferred[list[Answer]] = Deferred()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            asked = [self._at(kind, address) for kind, address in self._addresses() if kind != "endpoint"]
            gatherResults(asked).addCallback(self._with_workers, self._ask_workers()).addBoth(self._tell)
        return waiter

    def _ask_workers(self) -> Deferred[list[Answer]]:
        clock = steady(self._reactor)
        began = clock.seconds()

        def judge(_: None) -> list[Answer]:
            samples, waited = self._samples(), clock.seconds() - began
            several = any(each.parent for each in samples)
            return [presence(each, waited) for each in workers(samples)] if several else []

        return self._fresh(PATIENCE).addCallback(judge)

    def _with_workers(self, answers: list[Answer], present: Deferred[list[Answer]]) -> Deferred[list[Answer]]:
        return present.addCallback(lambda found: [*answers, *found])

    def _tell(self, answers: Any) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(answers)

    def _at(self, kind: str, address: Any) -> Deferred[Answer]:
        before, clock = self._refused(), steady(self._reactor)
        began = clock.seconds()
        if isinstance(address, UNIXAddress):
            where = (address.name or b"").decode(errors="replace")
            asked = [Question(clock).over_stream(UNIXClientEndpoint(self._reactor, where))]
        else:
            where = f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
            asked = [self._ask(kind, host, address.port) for host in LOOPBACK.get(address.host, (address.host,))]

        took: list[float] = []

        def note(echoed: bool) -> bool:
            if echoed:
                took.append(clock.seconds() - began)
            return echoed

        def judge(echoed: list[bool]) -> Any:
            answer = Answer(kind, where, any(echoed), seconds=min(took, default=0.0))
            if answer.echoes:
                return answer
            if self._starting():
                said = f"has not echoed within {PATIENCE:g} s, while a worker is being started"
                return attrs.evolve(answer, limited=True, said=said)
            return self._fresh(LATE).addCallback(lambda _: attrs.evolve(answer, limited=self._refused() > before))

        return gatherResults([each.addCallback(note) for each in asked]).addCallback(judge)

    def _starting(self) -> bool:
        """Return whether one of several workers is being started: what the kernel gives to it waits until it serves."""
        samples = self._samples()
        several = any(each.parent for each in samples)
        return several and any(each.state is State.STARTING for each in workers(samples))

    def _refused(self) -> int:
        drops = total(self._samples()).drops
        return sum(drops.get(reason, 0) for reason in LIMITS)

    def _ask(self, kind: str, host: str, port: int) -> Deferred[bool]:
        question = Question(steady(self._reactor))
        if kind == "udp":
            return question.over_datagrams(host, port)
        endpoint: Any = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        made: Any = endpoint(self._reactor, host, port, timeout=PATIENCE)
        if kind == "tls":
            from twisted.internet.ssl import CertificateOptions

            made = wrapClientTLS(CertificateOptions(), made)  # it is asked whether it echoes, not who it is
        return question.over_stream(made)


class Question:
    """Some bytes that nobody else has sent, and the time for their echo; :attr:`answered` fires once."""

    def __init__(self, clock: IReactorTime) -> None:
        self.text = b"echobench probe " + os.urandom(16).hex().encode()
        self.answered: Deferred[bool] = Deferred()
        self._clock = clock
        self._timer = clock.callLater(PATIENCE, self.end, False)
        self._close: Callable[[], Any] = lambda: None

    def over_stream(self, endpoint: Any) -> Deferred[bool]:
        """Connect and ask."""
        connecting: Deferred[Any] = endpoint.connect(_Asking(self))
        self._close = connecting.cancel

        def connected(protocol: Any) -> None:
            self._close = protocol.transport.abortConnection
            if self.answered.called:
                self._close()

        connecting.addCallbacks(connected, lambda _: self.end(False))
        return self.answered

    def over_datagrams(self, host: str, port: int) -> Deferred[bool]:
        """Send one datagram, and look for its echo.

        A transport of Twisted's would log its coming and going, for each question.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:  # no descriptor, no such family
            self.end(False)
            return self.answered
        look: list[IDelayedCall] = []

        def close() -> None:
            sock.close()
            for each in look:
                if each.active():
                    each.cancel()

        def look_after(seconds: float) -> None:
            look[:] = [self._clock.callLater(seconds, take, seconds)]

        def take(waited: float) -> None:
            try:
                echoed = sock.recv(len(self.text) + 1) == self.text
            except BlockingIOError:
                look_after(min(2 * waited, LONGEST_WAIT))
            except OSError:  # refused, which ICMP says
                self.end(False)
            else:
                self.end(echoed)

        self._close = close
        try:
            sock.setblocking(False)
            sock.connect(socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4])
            sock.send(self.text)
        except OSError:  # no route, a full buffer
            self.end(False)
        else:
            look_after(FIRST_WAIT)
        return self.answered

    def end(self, echoed: bool) -> None:
        """Take the answer, the first time that there is one, and close."""
        if self.answered.called:
            return
        if self._timer.active():
            self._timer.cancel()
        self.answered.callback(echoed)
        self._close()


class _Asking(ClientFactory):
    noisy = False

    def __init__(self, question: Question) -> None:
        self._question = question

    def buildProtocol(self, addr: Any) -> Protocol:
        return _StreamQuestion(self._question)


class _StreamQuestion(Protocol):
    def __init__(self, question: Question) -> None:
        self._question = question
        self._came = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._question.text)

    def dataReceived(self, data: bytes) -> None:
        self._came += data
        if len(self._came) >= len(self._question.text):
            self._question.end(self._came == self._question.text)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self._question.end(False)

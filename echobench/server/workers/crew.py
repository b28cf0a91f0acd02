"""Keeps a worker at each place: starts it again when it dies, replaces it, and ends all.

A worker that dies is started again on the same sockets, after a pause that doubles while it keeps dying. One that dies
at once again and again ends the whole, with a sentence. When workers are replaced, the new one serves beside the old
one before the old one is told to retire: they read the same sockets, so nothing that is queued there waits or is lost.
The old one serves its connections for the close time-out, so that those which have only just come are served too, and
then drains.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ...seldom import Seldom
from .messages import ABORT, DRAIN, REPORT, RETIRE
from .place import Place
from .process import Worker

log = Logger()

GRACE: Final = 2.0  # seconds beyond the close time-out after which a worker that is to end is killed
AT_ONCE: Final = 0.5  # seconds for workers to end their connections when they are told to end at once
NO_MEANS: Final = 0.5  # seconds until a worker is started again that could not be, for want of descriptors, say
LOOK: Final = 1.0  # seconds between two looks at who has not reported; workers report as often
SILENT: Final = 3.0  # seconds without a report after which it is told
STARTING: Final = 60.0  # seconds that a worker may take to begin; a busy machine takes some
ANSWER: Final = 1.0  # seconds that a worker has to report when it is asked

StartWorker = Callable[[Place], Worker]
"""Starts a process for a place. Raises OSError if it cannot."""


class Crew:
    """The workers at some places.

    ``start`` starts one. ``failed`` is called once, with a sentence, when they cannot be kept; the caller then ends the
    program. ``gone`` is called with each worker that has ended. Times are in seconds: ``close_timeout`` is how long a
    worker may take to end its connections, and ``timeout`` for how long it may report nothing; None is for ever.
    """

    def __init__(
        self,
        places: Sequence[Place],
        clock: IReactorTime,
        start: StartWorker,
        failed: Callable[[str], None],
        gone: Callable[[Worker], None],
        *,
        close_timeout: float | None,
        timeout: float | None = None,
    ) -> None:
        self.places = places
        self._clock, self._start, self._failed, self._gone = clock, start, failed, gone
        self._close_timeout, self._timeout = close_timeout, timeout
        self._serving: Deferred[None] | None = None
        self._stopped: Deferred[None] | None = None
        self._replacing = self._again = self._given_up = False
        self._waiting: list[Deferred[None]] = []
        self._asked: list[tuple[Deferred[None], set[Worker], int]] = []
        self._questions = 0
        self._means = Seldom()
        self._watch = LoopingCall(self._look)
        self._watch.clock = clock
        self._looked_at = self._excused_at = 0.0

    @property
    def workers(self) -> list[Worker]:
        """All processes that there are."""
        return [worker for place in self.places for worker in place.workers()]

    def begin(self) -> Deferred[None]:
        """Start a worker at each place; fires when all of them serve."""
        serving: Deferred[None] = Deferred()
        self._serving = serving
        for place in self.places:
            if not self._given_up:
                self._fill(place)
        self._looked_at = self._clock.seconds()
        self._watch.start(LOOK, now=False)
        return serving

    def ready(self, worker: Worker) -> None:
        """Note that a worker serves."""
        place = self.places[worker.number]
        log.info(
            "worker {number} serves, as process {pid}", number=worker.number, pid=worker.pid, event="worker_serves"
        )
        if worker is place.successor and not self._given_up:  # else both are told to end already
            place.successor, place.leaving, place.current = None, place.current, worker
            if place.leaving is not None:
                place.left = Deferred()
                self._dismiss(place.leaving, RETIRE, 2)
            replaced, place.replaced = place.replaced, None
            if replaced is not None:
                replaced.callback(True)
        if self._serving is not None and all(map(_serves, self.places)):
            serving, self._serving = self._serving, None
            serving.callback(None)

    def reported(self, worker: Worker) -> None:
        """Note that a worker has reported."""
        if worker.silent:
            worker.silent = False
            log.info("worker {number} reports again", number=worker.number, event="worker_reports_again")
        self._answered(worker, worker.answers)

    def ended(self, worker: Worker) -> None:
        """Note that a process has ended, and start another one if it was to stay."""
        place = self.places[worker.number]
        if worker.deadline is not None and worker.deadline.active():
            worker.deadline.cancel()
        self._gone(worker)
        self._leave(place, worker)
        self._answered(worker, self._questions)  # whoever asked looks at the places now
        if self._stopped is not None and not self.workers:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    def _leave(self, place: Place, worker: Worker) -> None:
        """Take a process that has ended out of its place, and fill that again if need be."""
        if worker is place.leaving:
            place.leaving = None
            left, place.left = place.left, None
            if left is not None:
                left.callback(None)
        elif worker is place.successor:
            place.successor = None
            if not self._given_up:
                log.error(
                    "worker {number}: the new process ended before it served: {how}",
                    number=place.number,
                    how=worker.how,
                    event="worker_successor_ended",
                )
            replaced, place.replaced = place.replaced, None
            if replaced is not None:
                replaced.callback(False)
            if place.current is None:
                self._restart(place, worker)
        else:
            place.current = None
            if place.successor is None:
                self._restart(place, worker)

    def fresh(self, patience: float = ANSWER) -> Deferred[None]:
        """Ask all workers for a report; fires when they have reported, or after ``patience`` in seconds.

        A report that was under way before does not count: it may lack what happened last. One that is silent is not
        asked: it would be waited for in vain, and what it is told is kept until it reads.
        """
        asked = {worker for worker in self.workers if worker.ready_at is not None and not worker.silent}
        if not asked:
            return succeed(None)
        self._questions += 1
        for worker in asked:
            worker.order(REPORT, self._questions)
        answered: Deferred[None] = Deferred()
        self._asked.append((answered, asked, self._questions))
        late = self._clock.callLater(patience, self._no_longer, answered)
        return answered.addBoth(lambda _: late.cancel() if late.active() else None)

    @inlineCallbacks
    def replace(self) -> Generator[Any, Any, None]:
        """Replace the workers one after the other; fires when all old ones have ended.

        A second call in the meantime has all of them replaced once more; then both fire at the end of that.
        """
        if self._replacing:
            self._again = True
            over: Deferred[None] = Deferred()
            self._waiting.append(over)
            yield over
            return
        if self._serving is not None or self._given_up:
            log.warn("the workers cannot be replaced now: they are being started, or ended", event="workers_busy")
            return
        self._replacing = self._again = True
        try:
            while self._again and not self._given_up:
                self._again = False
                yield self._replace_all()
        finally:
            self._replacing = False
            waiting, self._waiting = self._waiting, []
            for over in waiting:
                over.callback(None)

    def drain(self) -> Deferred[None]:
        """Have all workers end their connections in good order; fires when no process is left."""
        self._give_up()
        left = self.workers
        if not left:
            return succeed(None)
        self._stopped = Deferred()
        for worker in left:
            self._dismiss(worker)
        return self._stopped

    def abort(self) -> None:
        """Have all workers end their connections now, and end."""
        self._give_up()
        for worker in self.workers:
            worker.order(ABORT)
            self._kill_later(worker, AT_ONCE)

    def _give_up(self) -> None:
        """Start nobody any more."""
        self._given_up = True
        if self._watch.running:
            self._watch.stop()
        for place in self.places:
            place.stop_waiting()

    def _fill(self, place: Place) -> None:
        place.pause = None
        try:
            place.current = self._start(place)
        except OSError as error:
            if self._serving is not None:
                self._fail(f"worker {place.number} cannot be started: {error.strerror or error}")
                return
            if self._means.due():
                log.error(
                    "worker {number} cannot be started at the moment: {error}{more}",
                    number=place.number, error=error, more=self._means.more, event="worker_start_delayed",
                )  # fmt: skip
            place.pause = self._clock.callLater(NO_MEANS, self._fill, place)

    def _restart(self, place: Place, worker: Worker) -> None:
        """Start another process in the place of one that ended by itself."""
        if self._given_up:
            return
        if self._serving is not None and worker.why is not None:
            self._fail(f"worker {place.number} cannot serve: {worker.why}")
            return
        pause = place.deaths.again(worker.served)
        if pause is None:
            self._fail(
                f"worker {place.number} ended {place.deaths.number} times in a row as soon as it had started, the last "
                f"time with: {worker.how}"
            )
            return
        log.error(
            "worker {number}, process {pid}, has ended: {how}; it is started again in {pause} s",
            number=place.number, pid=worker.pid, how=worker.how, pause=f"{pause:.2f}", event="worker_ended",
        )  # fmt: skip
        place.pause = self._clock.callLater(pause, self._fill, place)

    def _fail(self, sentence: str) -> None:
        if not self._given_up:
            self._give_up()
            log.critical("{sentence}", sentence=sentence, event="workers_given_up")
            self._failed(sentence)

    @inlineCallbacks
    def _replace_all(self) -> Generator[Any, Any, None]:
        """Replace each worker, up to one that cannot be; fires when all that were replaced have ended."""
        log.info("the workers are replaced, one after the other", event="workers_replacing")
        all_done = True
        for place in self.places:
            all_done = yield self._replace(place)
            if self._given_up:
                return
            if not all_done:
                log.error(
                    "worker {number} stays as it is, and so do those after it",
                    number=place.number,
                    event="worker_stays",
                )
                break
        for place in self.places:  # a place has room for one that leaves
            if place.left is not None:
                yield place.left
        if all_done and not self._given_up:
            log.info("all workers have been replaced", event="workers_replaced")

    def _replace(self, place: Place) -> Deferred[bool]:
        """Start a successor; fires with whether it serves."""
        if place.current is None or place.current.ready_at is None:  # a new one is coming anyway
            return succeed(True)
        done: Deferred[bool] = Deferred()
        place.replaced = done
        try:
            place.successor = self._start(place)
        except OSError as error:
            log.error(
                "worker {number} cannot be replaced: {error}",
                number=place.number,
                error=error,
                event="worker_replace_failed",
            )
            place.replaced = None
            return succeed(False)
        return done

    def _dismiss(self, worker: Worker, order: str = DRAIN, times: int = 1) -> None:
        """Have a worker end, which may take it so many times the close time-out."""
        worker.order(order)
        if self._close_timeout is not None:
            self._kill_later(worker, times * self._close_timeout + GRACE)

    def _kill_later(self, worker: Worker, seconds: float) -> None:
        def late() -> None:
            log.warn(
                "worker {number} does not end by itself: it is killed", number=worker.number, event="worker_killed"
            )
            worker.kill()

        if worker.deadline is not None and worker.deadline.active():
            worker.deadline.cancel()
        worker.deadline = self._clock.callLater(seconds, late)

    def _look(self) -> None:
        """Look who has not reported.

        If this comes late itself, the parent was stopped, and the reports may still be in the pipes.
        """
        now = self._clock.seconds()
        if now - self._looked_at > 2 * LOOK:
            self._excused_at = now
        self._looked_at = now
        for worker in self.workers:
            silent = now - max(worker.heard_at, self._excused_at)
            if worker.ready_at is None:
                if silent >= STARTING:
                    worker.kill(f"killed, since it did not begin to serve within {STARTING:.0f} s")
            elif self._timeout is not None and silent >= self._timeout:
                worker.kill(f"killed, since it had not reported for {silent:.0f} s (--worker-timeout)")
            elif silent >= SILENT and not worker.silent:
                worker.silent = True
                log.warn(
                    "worker {number}, process {pid}, has not reported for {silent} s: it is stopped, or stuck, and its "
                    "connections wait",
                    number=worker.number, pid=worker.pid, silent=f"{silent:.0f}", event="worker_silent",
                )  # fmt: skip

    def _answered(self, worker: Worker, question: int) -> None:
        """Note that a worker has answered the questions up to this one."""
        for answered, asked, number in list(self._asked):
            if number <= question:
                asked.discard(worker)
            if not asked:
                self._no_longer(answered)

    def _no_longer(self, answered: Deferred[None]) -> None:
        self._asked = [each for each in self._asked if each[0] is not answered]
        if not answered.called:
            answered.callback(None)


def _serves(place: Place) -> bool:
    return place.current is not None and place.current.ready_at is not None

"""A crew of workers whose clock and processes the test makes."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from echobench.server.workers.crew import Crew
from echobench.server.workers.place import Place


class Process:
    """A worker process as the crew sees it."""

    def __init__(self, rig, number):
        self.rig, self.number, self.pid = rig, number, 1000 + len(rig.started)
        self.ready_at = self.why = self.deadline = None
        self.heard_at = rig.clock.seconds()
        self.silent = self.over = False
        self.orders, self.how = [], ""
        self.asked = self.answers = 0

    @property
    def served(self):
        return None if self.ready_at is None else self.rig.clock.seconds() - self.ready_at

    def order(self, what, number=0):
        self.orders.append(what)
        self.asked = number

    def kill(self, why=None):
        self.why = why or self.why
        self.end("killed by SIGKILL")

    def end(self, how="status 1"):
        if not self.over:
            self.over, self.how = True, self.why or how
            self.rig.crew.ended(self)

    def serve(self):
        self.ready_at = self.rig.clock.seconds()
        self.rig.crew.ready(self)

    def answer(self):
        self.answers = self.asked
        self.report()

    def report(self):
        self.heard_at = self.rig.clock.seconds()
        self.rig.crew.reported(self)


class Rig:
    def __init__(self, number, close_timeout=10.0, timeout=None):
        self.clock, self.started, self.failed, self.gone = Clock(), [], [], []
        self.error = None
        self.crew = Crew(
            [Place(each, []) for each in range(number)], self.clock, self.start, self.failed.append, self.gone.append,
            close_timeout=close_timeout, timeout=timeout,
        )  # fmt: skip

    def start(self, place):
        if self.error is not None:
            raise self.error
        self.started.append(Process(self, place.number))
        return self.started[-1]

    def begin(self):
        done = []
        self.crew.begin().addCallback(done.append)
        for each in list(self.started):
            assert not done
            each.serve()
        assert done == [None]
        return self.started[:]

    def pass_time(self, seconds, *reporting):
        """Let time pass, in which some report as they should."""
        for _ in range(round(seconds / 0.5)):
            self.clock.advance(0.5)
            for each in reporting:
                each.report()


@pytest.fixture
def rig():
    made = []

    def make(*args, **how):
        made.append(Rig(*args, **how))
        return made[-1]

    yield make
    for each in made:
        each.crew.abort()
        for process in each.started:
            process.end()
        assert not each.clock.getDelayedCalls()
        assert len(each.gone) == len(each.started)

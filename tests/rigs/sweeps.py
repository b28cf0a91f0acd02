"""Sweeps to test with: servers that are a formula, and results of steps as they would be."""

from __future__ import annotations

import random

import attrs
from rigs.blast_results import a_result

from echobench.bench.load import LoadError
from echobench.bench.run import processors
from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import Moment
from echobench.bench.run.verdicts import judge
from echobench.bench.sweep.steps import Machine, prepare, sweep

PLAN = Plan(host="server.example", port=7007, transport="udp", flows=4, model="open", rate=2000.0, duration=5.0)


def queue(capacity, generator=float("inf"), noise=0.0, seed=1):
    """A server of a runner's interface: a queue of that capacity; a generator that cannot do more than that."""
    chance = random.Random(seed)

    def run(plan):
        due = int(plan.rate * plan.duration)
        sent = int(min(plan.rate, generator) * plan.duration)
        answered = int(min(sent, capacity * plan.duration))
        mean = 1 / max(capacity - plan.rate, capacity / 1000) * chance.lognormvariate(0, noise)
        times = Histogram()
        times.record([int(1e9 * mean * factor) for factor in (0.1, 0.7, 1.5)], answered // 3)
        times.record(int(4.7e9 * mean), max(1, answered // 50))
        busy = plan.duration if sent < due else 0.2 * plan.duration
        counts = {"intended": due, "sent": sent, "answered": answered, "answered_bytes": 64 * answered}
        ends = {"not_sent": due - sent, "unanswered": sent - answered, "window": plan.duration, "busy": busy}
        moments = tuple(
            Moment(t=t, measured=1.0, rate=answered / plan.duration, p50=1e9 * mean, p99=4e9 * mean, lost=0)
            for t in (2.0, 3.0, 4.0)
        )
        tally = {**counts, **ends, "cpu": 0.1, "from_intended": times, "from_send": times}
        result = a_result(tally, plan.as_dict(), moments=moments)
        share = busy / plan.duration
        process = attrs.evolve(result.processes[0], busy_share=share, cpu_share=0.02)
        result = attrs.evolve(result, processes=(process,))
        return attrs.evolve(result, verdicts=judge(result))

    return run


def failing(run, after, error=None):
    """Do as that one, and raise after so many steps."""
    left = iter(range(after))

    def step(plan):
        if next(left, None) is None:
            raise error or LoadError("the server went away")
        return run(plan)

    return step


class Laboratory:
    """A machine with a clock of its own, which steps and waits move; ``disturbed`` is a pair of times.

    A step that the disturbance touches has the times that ``spoilt`` gives it, and ``steal`` of each CPU's time then.
    """

    def __init__(self, run, disturbed=(-1.0, -1.0), spoilt=None, steal=0.0):
        self._run, self._disturbed, self._steal = run, disturbed, steal
        self._spoilt = spoilt or queue(100)
        self.now, self.stolen = 0.0, 0.0
        self.waits, self.began = [], []
        self.machine = Machine(clock=lambda: self.now, sleep=self._sleep, spent=self._spent)

    def _sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds

    def _spent(self):
        return {0: [0] * 7 + [round(self.stolen * processors.TICK)], 1: [0] * 8}

    def step(self, plan):
        begin = self.now
        self.began.append((begin, plan.rate))
        self.now += 1.0 + plan.warmup + plan.duration + plan.cooldown
        touched = begin < self._disturbed[1] and self._disturbed[0] < self.now
        if touched:
            self.stolen += self._steal * (self.now - begin)
        return (self._spoilt if touched else self._run)(plan)


def swept(run, limit="p99<1ms", plan=PLAN, last=1e7, precision=0.05, repeats=3, watcher=None, laboratory=None):
    laboratory = laboratory or Laboratory(run)
    prepared = attrs.evolve(prepare(plan, limit, last, precision, repeats), notes=())  # this host need not be calm
    return sweep(prepared, laboratory.step, watcher, laboratory.machine)

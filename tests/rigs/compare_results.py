"""Comparisons to test with: made up, of figures that are known."""

from __future__ import annotations

import attrs
import numpy as np
from rigs.blast_results import ENVIRONMENT, a_result

from echobench.bench.compare.analysis.comparison import IDEAL, Comparison, Load, Run, Subject, Usage
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import Verdict

TEMPLATE = a_result()  # thousands are made of it, which share its histograms
FAST = TEMPLATE.tally.from_send
MACHINE = {**ENVIRONMENT, "system": "Linux", "machine": "x86_64", "cpu": "a CPU", "cpus": 2, "kernel": "6.1"}


def a_run(subject=IDEAL, number=1, rate=10_000.0, cpu=0.95, *, named=(), place=1, **changes):
    """A run in which a server answered ``rate`` messages a second with so much of a CPU."""
    count = round(rate * 10)
    numbers = {"intended": count, "sent": count, "answered": count, **changes.pop("tally", {})}
    result = attrs.evolve(TEMPLATE, tally=attrs.evolve(TEMPLATE.tally, **numbers, from_send=changes.pop("times", FAST)))
    verdicts = tuple(Verdict(name=name, level="warning", sentence=f"It is {name}.") for name in named)
    return Run(
        subject=subject,
        load="small",
        round=number,
        place=place,
        result=attrs.evolve(result, verdicts=verdicts),
        **{"usage": usage(cpu), **changes},
    )


def usage(cpu=0.95, **changes):
    return Usage(
        **{"window": 10.0, "cpu": 10 * cpu, "busiest": 10 * cpu, "others": 0.1, "switches": 100, "peak": 1 << 20,
           "processes": 1, **changes}
    )  # fmt: skip


def a_comparison(runs, names=("mine",), **changes):
    return Comparison(
        **{
            "started": "2026-03-01T12:00:00+00:00",
            "environment": MACHINE,
            "seed": 1,
            "rounds": max((run.round for run in runs), default=1),
            "server_cpus": (0,),
            "load_cpus": (1,),
            "subjects": (
                Subject(name=IDEAL, command="i {port}"),
                *(Subject(name=n, command="x {port}") for n in names),
            ),
            "loads": (Load(name="small", plan=Plan(host="127.0.0.1", flows=4)),),
            "runs": tuple(runs),
            **changes,
        }
    )


def synthetic(seed, speed=1.0, rounds=10, noise=0.02, drift=0.03):
    """Rounds of the ideal and of one that works at ``speed`` of it, each with its own noise, on a machine that drifts.

    ``noise`` is the standard deviation of a run; ``drift`` that of what both runs of a round have in common.
    """
    random = np.random.default_rng(seed)
    runs = []
    for number in range(1, rounds + 1):
        common = 1 + drift * random.standard_normal()
        for place, (subject, true) in enumerate(((IDEAL, 1.0), ("mine", speed)), 1):
            rate = 10_000 * true * common * (1 + noise * random.standard_normal())
            runs.append(a_run(subject, number, rate, 0.95, place=place))
    return a_comparison(runs)

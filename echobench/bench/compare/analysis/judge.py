"""Judges a comparison: a row of figures and a verdict for each subject and load.

The ratio: machines drift, so a subject is compared with the reference (the ideal, unless another was chosen) *in the
same round*, and the ratio is the geometric mean of the rounds' ratios, with Student's interval (:mod:`.confidence`). It
is made of *work per CPU second of the server* if both have that figure (:mod:`.figures`). A rate is what server and
generator reach together; where the generator is the limit, all rates are the generator's. Under loads that measure
times it is made of the median times: a server that waits awake is then neither punished for the CPU time that it uses
nor is that hidden. :mod:`.standing` tells which ratios may be ranked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ...run.histogram import Histogram
from ...run.plan import Plan
from ...run.result import Result
from ...run.tally import lost
from ...run.verdicts.generator import KEPT
from . import confidence
from .comparison import IDEAL, Comparison, Run, Usage
from .cost import cost, ticks_per_second
from .figures import (
    FIGURES,
    Basis,
    Ratios,
    chosen,
    compared,
    known,
    measures_times,
    per_cpu,
    rate,
    server_share,
    times,
)  # fmt: skip
from .selection import all_counting, disturbance, fair
from .standing import FULL, caveat, generator_bound, shares
from .steadiness import trend
from .words import named

NOISE: Final = 0.10  # standard deviation of the rounds, as a part of the figure, beyond which it means nothing
OTHERS: Final = 0.10  # part of a CPU of the server's that other programs may use
WRONG: Final = ("wrong bytes", "connections lost", "connections stuck", "refused")


@attrs.frozen(kw_only=True)
class Row:
    """One subject under one load.

    ``comparison.schema.json`` says what each field means.
    """

    subject: str
    load: str
    verdict: str
    why: str
    reference: str = IDEAL
    rounds: int = 0
    rounds_made: int = 0
    basis: str | None = None
    headline: bool = False
    caveat: str | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ratio_all: float | None = None
    low_all: float | None = None
    high_all: float | None = None
    ratio_cpu: float | None = None
    ratio_rate: float | None = None
    ratio_time: float | None = None
    rate: float | None = None
    per_cpu: float | None = None
    cpu_per_echo: float | None = None
    user_per_echo: float | None = None
    kernel_per_echo: float | None = None
    user_share: float | None = None
    user_share_error: float | None = None
    spread_rate: float | None = None
    spread_cpu: float | None = None
    spread_ratio: float | None = None
    p50: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    slowest: float | None = None
    lost: float | None = None
    server_cpu: float | None = None
    generator_cpu: float | None = None
    peak: int | None = None
    connection_memory: float | None = None
    system_calls: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the row for a file; a time that is a lost message's is null there, as JSON has no infinity."""
        return {name: None if value == math.inf else value for name, value in attrs.asdict(self).items()}


def judge(comparison: Comparison) -> list[Row]:
    """Give all rows: load by load, the subjects in their order."""
    return [_row(comparison, subject.name, load.name) for load in comparison.loads for subject in comparison.subjects]


def as_stored(comparison: Comparison) -> dict[str, Any]:
    """Give what a file holds: the comparison, and its rows for other tools."""
    return {**comparison.as_dict(), "rows": [row.as_dict() for row in judge(comparison)]}


def _row(comparison: Comparison, subject: str, load: str) -> Row:
    runs = comparison.of(subject, load)
    good, references = fair(comparison, subject, load)
    plan, cpus, reference = comparison.plan(load), len(comparison.server_cpus), comparison.reference
    results = [run.result for run in good if run.result is not None]
    ratios = compared(good, references, plan)
    found = confidence.estimate(list(ratios.used.values()))
    verdict, why = _verdict(comparison, subject, load, good, found)
    if verdict == "void":
        return Row(subject=subject, load=load, verdict=verdict, why=why, reference=reference, rounds_made=len(runs))
    everything = _with_those_left_out(comparison, subject, load, good)
    each = _by_figure(ratios, plan)
    said = None
    # Programs on the server's CPUs make figures wrong. The interval says only how uncertain they are.
    if verdict == "not conformant" or _crowded(good, cpus):
        found, everything, each = None, None, {}
    elif found:
        said, has_ratio = caveat({subject: good, reference: references}, ratios.basis, cpus, plan)
        if not has_ratio:
            found = everything = None
        if any(generator_bound(side, cpus, plan) for side in (good, references)):
            each.pop("rate", None)
    spent = cost(good, ticks_per_second(comparison.environment))
    merged = _merged(results)
    times = merged.percentiles()
    return Row(
        subject=subject,
        load=load,
        verdict=verdict,
        why=why,
        reference=reference,
        rounds=found.rounds if found else len(good),
        rounds_made=len(runs),
        basis=ratios.basis if found else None,
        headline=found is not None and said is None,
        caveat=said,
        ratio=found.value if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        ratio_all=everything.value if everything else None,
        low_all=everything.low if everything else None,
        high_all=everything.high if everything else None,
        ratio_cpu=each.get("cpu"),
        ratio_rate=each.get("rate"),
        ratio_time=each.get("time"),
        rate=confidence.median(known(rate, good)),
        per_cpu=confidence.median(known(per_cpu, good)),
        cpu_per_echo=spent.whole if spent else None,
        user_per_echo=spent.user if spent else None,
        kernel_per_echo=spent.kernel if spent else None,
        user_share=spent.user_share if spent else None,
        user_share_error=spent.error if spent else None,
        spread_rate=confidence.spread(known(rate, good)),
        spread_cpu=confidence.spread(known(per_cpu, good)),
        spread_ratio=found.spread if found else None,
        p50=times.get(50.0),
        p99=times.get(99.0),
        p99_9=times.get(99.9),
        slowest=float(merged.greatest) if merged.greatest else None,
        lost=sum(lost(each.tally) for each in results) / max(1, sum(each.tally.intended for each in results)),
        server_cpu=confidence.median(known(server_share, good)),
        generator_cpu=confidence.median([max((p.cpu_share for p in each.processes), default=0.0) for each in results]),
        peak=max((run.usage.peak for run in good if run.usage and run.usage.peak), default=None),
        connection_memory=next((each.each for each in comparison.memory if each.subject == subject), None),
        system_calls=next((c.each for c in comparison.calls if (c.subject, c.load) == (subject, load)), None),
    )


def _with_those_left_out(
    comparison: Comparison, subject: str, load: str, good: Sequence[Run]
) -> confidence.Estimate | None:
    """Estimate the ratio over all rounds; None if none were left out, or all have no ratio."""
    every, references = all_counting(comparison, subject, load)
    if len(every) <= len(good):
        return None
    return confidence.estimate(list(compared(every, references, comparison.plan(load)).used.values()))


def _by_figure(ratios: Ratios, plan: Plan) -> dict[Basis, float]:
    """Give the ratio by each figure that says something.

    A rate that varies much does not, nor does an open load's, which is what was asked for.
    """
    found = {}
    for basis in FIGURES:
        estimate = confidence.estimate(list(ratios.made_of(basis).values()))
        if estimate is None or (basis == "rate" and (plan.model == "open" or (estimate.spread or 0) > NOISE)):
            continue
        found[basis] = estimate.value
    return found


def _merged(results: Sequence[Result]) -> Histogram:
    """Give the round-trip times of all rounds."""
    merged = Histogram()
    for result in results:
        merged.add(times(result))
    return merged


def _verdict(
    comparison: Comparison,
    subject: str,
    load: str,
    good: Sequence[Run],
    ratio: confidence.Estimate | None,
) -> tuple[str, str]:
    """Give the gravest verdict that holds, and its reason."""
    runs = comparison.of(subject, load)
    for look in (_void, _wrong):
        if found := look(runs, good):
            return found
    for each in comparison.conformance:
        same = "udp" if runs[0].result and runs[0].result.plan.transport == "udp" else "tcp"
        if each.subject == subject and each.transport == same and each.failed:
            return "not conformant", f"it failed what RFC 862 requires: {'; '.join(each.failed)}"
    cpus, plan, reference = len(comparison.server_cpus), comparison.plan(load), comparison.reference
    noise = _noise(good, cpus, ratio, plan, reference)
    return noise or _trend(good) or _generator(good, cpus, plan) or _limit(good, cpus, plan)


def _void(runs: Sequence[Run], good: Sequence[Run]) -> tuple[str, str] | None:
    wrong = _wrong(runs, good)
    if good or wrong:
        return None
    reasons = dict.fromkeys(run.failure or "nothing was answered" for run in runs)
    return "void", "; ".join(reasons) or "it was not run"


def _wrong(runs: Sequence[Run], good: Sequence[Run]) -> tuple[str, str] | None:
    """Look for wrong bytes, and for connections that did not last."""
    said = [v.sentence for run in runs if run.result for v in run.result.verdicts if v.name in WRONG]
    return ("not conformant", said[0]) if said else None


def _crowded(good: Sequence[Run], cpus: int) -> float | None:
    """Give the part that others used of the server's CPU that lost most to them, if it was too much.

    It is the median of the rounds. An average would hide behind idle CPUs what the server's own lost.
    """
    used = [run.usage for run in good if run.usage is not None and run.usage.window]
    taken = confidence.median([part for each in used if (part := _others(each, cpus)) is not None])
    return taken if taken is not None and taken > OTHERS and cpus else None


def _others(usage: Usage, cpus: int) -> float | None:
    if usage.others_worst is not None:
        return usage.others_worst / usage.window
    return None if usage.others is None else usage.others / usage.window / max(1, cpus)  # a stored run knows no more


def _noise(
    good: Sequence[Run], cpus: int, ratio: confidence.Estimate | None, plan: Plan, reference: str
) -> tuple[str, str] | None:
    """Look for others on the server's CPUs, and for rounds that differ too much.

    It is the ratio that must be steady. What the runs of a round have in common (:func:`drift`) cancels in it. Where
    there is nothing to compare with, the figure itself must be steady.
    """
    if taken := _crowded(good, cpus):
        whose = "the server's CPU" if cpus == 1 else "one of the server's CPUs"
        return (
            "too noisy",
            f"other programs used {taken:.0%} of {whose}: stop them, or choose --server-cpus",
        )
    if ratio is not None:
        name, found = f"ratio to {named(reference)}", ratio.spread
    else:
        name, found = _spread(good, plan)
    if found is not None and found > NOISE:
        return "too noisy", f"the {name} varies by {found:.0%} from round to round (standard deviation)"
    return None


def _spread(runs: Sequence[Run], plan: Plan) -> tuple[str, float | None]:
    """Give the name of the figure that is compared, and how much it varies itself."""
    basis = "time" if measures_times(plan) else chosen(len(known(per_cpu, runs)), len(known(rate, runs)))
    found = confidence.estimate(known(FIGURES[basis], runs)) if basis else None
    names: dict[Basis, str] = {"cpu": "work per CPU second", "rate": "rate", "time": "median round-trip time"}
    return names[basis or "rate"], found.spread if found else None


def remarks(comparison: Comparison) -> list[str]:
    """Give the notes that follow from the runs: what the host took, how far the machine drifted, what is charged."""
    taken = disturbance(comparison)
    return [*faulty(comparison), *([taken] if taken else []), *drift(comparison), *uncharged(comparison.environment)]


def faulty(comparison: Comparison) -> list[str]:
    """Say which servers were asked to misbehave."""
    said: dict[str, None] = {}
    for run in comparison.runs:
        faults = run.result.environment.get("faults") if run.result else None
        if faults:
            said[
                f"{named(run.subject)} INJECTS FAULTS ON PURPOSE ({'; '.join(faults)}): its figures are not those of a "
                "good server"
            ] = None
    return list(said)


def uncharged(environment: dict[str, Any]) -> list[str]:
    """Say that the kernel charges the network's work to nobody, if it does."""
    kept = environment.get("cpu_accounting") or {}
    if kept.get("CONFIG_IRQ_TIME_ACCOUNTING") != "y" or kept.get("tsc") == "noirqtime":
        return []
    return [
        "this kernel charges the time of interrupts and softirqs to no process (CONFIG_IRQ_TIME_ACCOUNTING): the work "
        "of the network stack on received messages is in no server's CPU time, so compare these figures with those of "
        "such kernels only"
    ]


def drift(comparison: Comparison) -> list[str]:
    """Say under which loads the machine's speed varied so much that only ratios mean something.

    It is known from the reference, which runs in every round.
    """
    said, whose = [], named(comparison.reference)
    for load in comparison.loads:
        name, found = _spread(fair(comparison, comparison.reference, load.name)[0], load.plan)
        if found is not None and found > NOISE:
            said.append(
                f"{load.name}: the speed of the machine varied by {found:.0%} from round to round ({whose}'s {name}, "
                "standard deviation); what both runs of a round share cancels in the ratios, not in the other figures"
            )
    return said


def _trend(good: Sequence[Run]) -> tuple[str, str] | None:
    """Look whether the server was still changing its speed."""
    said = trend(good)
    return ("not steady", said) if said else None


def _generator(good: Sequence[Run], cpus: int, plan: Plan) -> tuple[str, str] | None:
    """Look whether the generator was the limit in half of the rounds."""
    if not generator_bound(good, cpus, plan):
        return None
    if measures_times(plan):
        return "generator-bound", "the generator had no time left, or sent late: it adds much to these times"
    return "generator-bound", "the generator had no time left: the rate is its own, not the server's"


def _limit(good: Sequence[Run], cpus: int, plan: Plan) -> tuple[str, str]:
    known = sorted(shares(good, cpus))
    if not known:
        return "waiting", "the server's CPU time is not known, and the generator had time left"
    busy, said = known[len(known) // 2]
    if busy >= FULL and not (measures_times(plan) and _kept(good)):
        return "server-bound", said
    if busy >= FULL:
        return "waiting", f"it answered every message: {said}, part of which may be busy-waiting"
    return "waiting", f"neither server nor generator was the limit: {said}"


def _kept(good: Sequence[Run]) -> bool:
    """Tell whether the server answered what it was asked, so that a full CPU is no limit.

    With one message under way it does so as soon as it can, and waits for the next.
    """
    tallies = [run.result.tally for run in good if run.result]
    return all(tally.answered >= KEPT * tally.intended for tally in tallies)

"""Judges a comparison: a row of figures and a verdict for each subject and load.

The ratio: machines drift, so a subject is compared with the ideal *in the same round*, and the ratio is the geometric
mean of the rounds' ratios, with Student's interval (:mod:`.confidence`). It is made of *work per CPU second of the
server* if both have that figure (:mod:`.figures`). A rate is what server and generator reach together; where the
generator is the limit, all rates are the generator's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ...run.histogram import Histogram
from ...run.result import Result
from ...run.tally import lost
from . import confidence
from .comparison import IDEAL, Comparison, Run, Usage
from .figures import chosen, compared, known, per_cpu, rate, server_share, times
from .selection import all_counting, disturbance, fair
from .steadiness import trend

NOISE: Final = 0.10  # standard deviation of the rounds, as a part of the figure, beyond which it means nothing
OTHERS: Final = 0.10  # part of the server's CPUs that other programs may use
FULL: Final = 0.90  # part of a CPU: a thread that uses more has no time left, and so has a server that fills its CPUs
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
    rounds: int = 0
    rounds_made: int = 0
    basis: str | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ratio_all: float | None = None
    low_all: float | None = None
    high_all: float | None = None
    ratio_cpu: float | None = None
    ratio_rate: float | None = None
    rate: float | None = None
    per_cpu: float | None = None
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
    good, ideals = fair(comparison, subject, load)
    results = [run.result for run in good if run.result is not None]
    ratios = compared(good, ideals)
    found = confidence.estimate(list(ratios.used.values()))
    verdict, why = _verdict(comparison, subject, runs, good, found)
    if verdict == "void":
        return Row(subject=subject, load=load, verdict=verdict, why=why, rounds_made=len(runs))
    everything = _with_those_left_out(comparison, subject, load, good)
    by_rate = confidence.estimate(list(ratios.rate.values()))
    by_cpu = confidence.estimate(list(ratios.cpu.values()))
    # Programs on the server's CPUs make figures wrong. The interval says only how uncertain they are.
    if verdict == "not conformant" or _crowded(good, len(comparison.server_cpus)):
        found = by_cpu = by_rate = everything = None
    elif by_rate and (by_rate.spread or 0) > NOISE:
        by_rate = None
    merged = _merged(results)
    times = merged.percentiles()
    return Row(
        subject=subject,
        load=load,
        verdict=verdict,
        why=why,
        rounds=found.rounds if found else len(good),
        rounds_made=len(runs),
        basis=ratios.basis if found else None,
        ratio=found.value if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        ratio_all=everything.value if everything else None,
        low_all=everything.low if everything else None,
        high_all=everything.high if everything else None,
        ratio_cpu=by_cpu.value if by_cpu else None,
        ratio_rate=by_rate.value if by_rate else None,
        rate=confidence.median(known(rate, good)),
        per_cpu=confidence.median(known(per_cpu, good)),
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
    every, ideals = all_counting(comparison, subject, load)
    return confidence.estimate(list(compared(every, ideals).used.values())) if len(every) > len(good) else None


def _merged(results: Sequence[Result]) -> Histogram:
    """Give the round-trip times of all rounds."""
    merged = Histogram()
    for result in results:
        merged.add(times(result))
    return merged


def _verdict(
    comparison: Comparison,
    subject: str,
    runs: Sequence[Run],
    good: Sequence[Run],
    ratio: confidence.Estimate | None,
) -> tuple[str, str]:
    """Give the gravest verdict that holds, and its reason."""
    for look in (_void, _wrong):
        if found := look(runs, good):
            return found
    for each in comparison.conformance:
        same = "udp" if runs[0].result and runs[0].result.plan.transport == "udp" else "tcp"
        if each.subject == subject and each.transport == same and each.failed:
            return "not conformant", f"it failed what RFC 862 requires: {'; '.join(each.failed)}"
    cpus = len(comparison.server_cpus)
    return _noise(good, cpus, ratio) or _trend(good) or _generator(good, cpus) or _limit(good, cpus)


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
    """Give the part of the server's CPUs that others used, if it was too much.

    It is the median of the rounds.
    """
    used = [run.usage for run in good if run.usage is not None]
    others = [each.others / each.window / max(1, cpus) for each in used if each.others is not None]
    taken = confidence.median(others)
    return taken if taken is not None and taken > OTHERS and cpus else None


def _noise(good: Sequence[Run], cpus: int, ratio: confidence.Estimate | None) -> tuple[str, str] | None:
    """Look for others on the server's CPUs, and for rounds that differ too much.

    It is the ratio that must be steady. What the runs of a round have in common (:func:`drift`) cancels in it. Where
    there is no ideal to compare with, the figure itself must be steady.
    """
    if taken := _crowded(good, cpus):
        return (
            "too noisy",
            f"other programs used {taken:.0%} of the server's CPUs: stop them, or choose --server-cpus",
        )
    if ratio is not None:
        name, found = "ratio to the ideal", ratio.spread
    else:
        name, found = _spread(good)
    if found is not None and found > NOISE:
        return "too noisy", f"the {name} varies by {found:.0%} from round to round (standard deviation)"
    return None


def _spread(runs: Sequence[Run]) -> tuple[str, float | None]:
    """Give the name of the figure that is compared, and how much it varies itself."""
    work, rates = known(per_cpu, runs), known(rate, runs)
    by_cpu = chosen(len(work), len(rates)) == "cpu"
    found = confidence.estimate(work if by_cpu else rates)
    return "work per CPU second" if by_cpu else "rate", found.spread if found else None


def remarks(comparison: Comparison) -> list[str]:
    """Give the notes that follow from the runs: what the host took, and how far the machine drifted."""
    taken = disturbance(comparison)
    return [*([taken] if taken else []), *drift(comparison)]


def drift(comparison: Comparison) -> list[str]:
    """Say under which loads the machine's speed varied so much that only ratios mean something.

    It is known from the ideal, which runs in every round.
    """
    said = []
    for load in comparison.loads:
        name, found = _spread(fair(comparison, IDEAL, load.name)[0])
        if found is not None and found > NOISE:
            said.append(
                f"{load.name}: the speed of the machine varied by {found:.0%} from round to round (the ideal's {name}, "
                "standard deviation); what both runs of a round share cancels in the ratios, not in the other figures"
            )
    return said


def _trend(good: Sequence[Run]) -> tuple[str, str] | None:
    """Look whether the server was still changing its speed."""
    said = trend(good)
    return ("not steady", said) if said else None


def _share(usage: Usage, cpus: int) -> tuple[float, str]:
    """Give how much of the CPU time that a server can use it used, and of what.

    A thread can use one CPU. All threads together can use the ``cpus`` that the server is pinned to: many processes,
    each of them short-lived or little used, may fill these.
    """
    thread = usage.busiest / usage.window
    together = usage.cpu / usage.window / cpus if cpus else 0.0
    if together > thread:
        whose = "its CPU" if cpus == 1 else f"its {cpus} CPUs"
        return together, f"the server's processes together used {together:.0%} of {whose}"
    return thread, f"the server's busiest thread used {thread:.0%} of a CPU"


def _generator(good: Sequence[Run], cpus: int) -> tuple[str, str] | None:
    """Look whether the generator was the limit in half of the rounds.

    Rounds in which the server had no time left either do not count.
    """
    bound = [run for run in good if run.result and any(v.name == "generator-bound" for v in run.result.verdicts)]
    idle = [run for run in bound if not run.usage or not run.usage.window or _share(run.usage, cpus)[0] < FULL]
    if 2 * len(idle) < len(good) or not idle:
        return None
    return "generator-bound", "the load's processes had no time left: the rate is theirs, not the server's"


def _limit(good: Sequence[Run], cpus: int) -> tuple[str, str]:
    shares = sorted(_share(run.usage, cpus) for run in good if run.usage and run.usage.window)
    if not shares:
        return "waiting", "the server's CPU time is not known, and the generator had time left"
    busy, said = shares[len(shares) // 2]
    if busy >= FULL:
        return "server-bound", said
    return "waiting", f"neither server nor generator was the limit: {said}"

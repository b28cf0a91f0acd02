"""Judges a comparison: a row of figures and a verdict for each subject and load.

The ratio: machines drift, so a subject is compared with the ideal *in the same round*, and the ratio is the median of
the rounds' ratios, with a bootstrap interval. It is made of *work per CPU second of the server* if both have that
figure. A rate is what server and generator reach together; where the generator is the limit, all rates are the
generator's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from ...run.histogram import Histogram
from ...run.result import Result, per_second
from ...run.tally import lost
from . import confidence
from .comparison import Comparison, Run
from .selection import counts, fair

NOISE: Final = 0.10  # standard deviation by mean, beyond which a figure means nothing
OTHERS: Final = 0.10  # part of the server's CPUs that other programs may use
FULL: Final = 0.90  # part of a CPU: a thread that uses more has no time left
LEAST_CPU: Final = 0.02  # seconds of CPU time that work per CPU second needs
WRONG: Final = ("wrong bytes", "connections lost", "connections stuck", "refused")

Figure = Callable[[Run], "float | None"]


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
    basis: str | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ratio_cpu: float | None = None
    ratio_rate: float | None = None
    rate: float | None = None
    per_cpu: float | None = None
    spread_rate: float | None = None
    spread_cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    lost: float | None = None
    server_cpu: float | None = None
    generator_cpu: float | None = None
    peak: int | None = None
    connection_memory: float | None = None
    system_calls: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the row for a file."""
        return attrs.asdict(self)


def rate(run: Run) -> float | None:
    """Give answers per second; None without a result."""
    return per_second(run.result.tally.answered, run.result.tally) if run.result is not None else None


def server_share(run: Run) -> float | None:
    """Give the server's CPU time as a part of the window; None if it is not known."""
    return run.usage.cpu / run.usage.window if run.usage and run.usage.window else None


def per_cpu(run: Run) -> float | None:
    """Give answers per second of the server's CPU time.

    None if that is not known, or too little to divide by.
    """
    answers, share = rate(run), server_share(run)
    if answers is None or not share or run.usage is None or run.usage.cpu < LEAST_CPU:
        return None
    return answers / share


def ratios(runs: Sequence[Run], ideals: Sequence[Run], figure: Figure) -> list[float]:
    """Give the ratio of each round in which both have the figure."""
    reference = {run.round: figure(run) for run in ideals if counts(run)}
    found = []
    for run in runs:
        mine, theirs = figure(run), reference.get(run.round)
        if counts(run) and mine is not None and theirs:
            found.append(mine / theirs)
    return found


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
    verdict, why = _verdict(comparison, subject, runs, good)
    if verdict == "void":
        return Row(subject=subject, load=load, verdict=verdict, why=why)
    by_cpu, by_rate = ratios(good, ideals, per_cpu), ratios(good, ideals, rate)
    basis, used = ("cpu", by_cpu) if by_cpu else ("rate", by_rate) if by_rate else (None, [])
    ends = confidence.interval(used, comparison.seed)
    # Programs on the server's CPUs make figures wrong. The interval says only how uncertain they are.
    if verdict == "not conformant" or _crowded(good, len(comparison.server_cpus)):
        used, ends, basis, by_cpu, by_rate = [], None, None, [], []
    elif (confidence.spread(_all(rate, good)) or 0) > NOISE:
        by_rate = []
    times = _times(results)
    return Row(
        subject=subject,
        load=load,
        verdict=verdict,
        why=why,
        rounds=len(good),
        basis=basis,
        ratio=confidence.median(used),
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        ratio_cpu=confidence.median(by_cpu),
        ratio_rate=confidence.median(by_rate),
        rate=confidence.median(_all(rate, good)),
        per_cpu=confidence.median(_all(per_cpu, good)),
        spread_rate=confidence.spread(_all(rate, good)),
        spread_cpu=confidence.spread(_all(per_cpu, good)),
        p50=times.get(50.0),
        p99=times.get(99.0),
        p99_9=times.get(99.9),
        lost=sum(lost(each.tally) for each in results) / max(1, sum(each.tally.intended for each in results)),
        server_cpu=confidence.median(_all(server_share, good)),
        generator_cpu=confidence.median([max((p.cpu_share for p in each.processes), default=0.0) for each in results]),
        peak=max((run.usage.peak for run in good if run.usage and run.usage.peak), default=None),
        connection_memory=next((each.each for each in comparison.memory if each.subject == subject), None),
        system_calls=next((c.each for c in comparison.calls if (c.subject, c.load) == (subject, load)), None),
    )


def _all(figure: Figure, runs: Sequence[Run]) -> list[float]:
    return [value for run in runs if (value := figure(run)) is not None]


def _times(results: Sequence[Result]) -> dict[float, float]:
    """Give percentiles of the rounds' merged histograms, as far as supported."""
    merged = Histogram()
    for result in results:
        merged.add(result.tally.from_intended if result.plan.model == "open" else result.tally.from_send)
    return merged.percentiles()


def _verdict(comparison: Comparison, subject: str, runs: Sequence[Run], good: Sequence[Run]) -> tuple[str, str]:
    """Give the gravest verdict that holds, and its reason."""
    for look in (_void, _wrong):
        if found := look(runs, good):
            return found
    for each in comparison.conformance:
        same = "udp" if runs[0].result and runs[0].result.plan.transport == "udp" else "tcp"
        if each.subject == subject and each.transport == same and each.failed:
            return "not conformant", f"it failed what RFC 862 requires: {'; '.join(each.failed)}"
    cpus = len(comparison.server_cpus)
    return _noise(good, cpus) or _generator(good) or _limit(good)


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


def _noise(good: Sequence[Run], cpus: int) -> tuple[str, str] | None:
    """Look for rounds that differ too much, and for others on the server's CPUs."""
    if taken := _crowded(good, cpus):
        return (
            "too noisy",
            f"other programs used {taken:.0%} of the server's CPUs: stop them, or choose --server-cpus",
        )
    # The figure that is compared must be steady: work, if it is known. A rate may vary with the machine while the cost
    # of an echo stays the same.
    name, found = "work per CPU second", confidence.spread(_all(per_cpu, good))
    if found is None:
        name, found = "rate", confidence.spread(_all(rate, good))
    if found is not None and found > NOISE:
        return "too noisy", f"the {name} of the rounds varies by {found:.0%} of its mean (standard deviation)"
    return None


def _generator(good: Sequence[Run]) -> tuple[str, str] | None:
    """Look whether the generator was the limit in half of the rounds.

    Rounds in which the server had no time left either do not count.
    """
    bound = [run for run in good if run.result and any(v.name == "generator-bound" for v in run.result.verdicts)]
    idle = [run for run in bound if not run.usage or run.usage.busiest < FULL * run.usage.window]
    if 2 * len(idle) < len(good) or not idle:
        return None
    return "generator-bound", "the load's processes had no time left: the rate is theirs, not the server's"


def _limit(good: Sequence[Run]) -> tuple[str, str]:
    busy = confidence.median([run.usage.busiest / run.usage.window for run in good if run.usage and run.usage.window])
    if busy is None:
        return "waiting", "the server's CPU time is not known, and the generator had time left"
    if busy >= FULL:
        return "server-bound", f"the server's busiest thread used {busy:.0%} of a CPU"
    return (
        "waiting",
        f"neither server nor generator was the limit: the server's busiest thread used {busy:.0%} of a CPU",
    )

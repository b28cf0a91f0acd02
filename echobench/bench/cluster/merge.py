"""Merges what machines measured into one result: histograms and counts are added, nothing is averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from ..run import verdicts
from ..run.plan import Plan
from ..run.result import Machine, Moment, Process, Result
from ..run.tally import Tally


def merge(
    plan: Plan,
    machines: Sequence[Machine],
    *,
    started: str,
    environment: dict[str, Any],
    moments: Sequence[Moment] = (),
    counters: dict[str, int] | None = None,
    cut_short: bool = False,
) -> Result:
    """Merge the results of the machines that gave one; ``plan`` is of all together, ``environment`` is ours.

    The result keeps each machine's own. Its first address is that of the merged one.
    """
    found = [(machine, machine.result) for machine in machines if machine.result is not None]
    results = [one for _, one in found]
    result = Result(
        started=started,
        plan=plan,
        address=next((one.address for one in results), plan.host),
        environment={**environment, "loopback": any(one.environment.get("loopback") for one in results)},
        tally=together([one.tally for one in results]),
        processes=tuple(process for machine, one in found for process in numbered(machine, one)),
        moments=tuple(moments),
        counters=counters,
        failures=tuple(f"{machine.name}, {why}" for machine, one in found for why in one.failures),
        cut_short=cut_short,
        machines=tuple(machines),
    )
    return attrs.evolve(result, verdicts=verdicts.judge(result))


def together(tallies: Sequence[Tally]) -> Tally:
    """Add tallies up."""
    whole = Tally()
    for each in tallies:
        whole.add(each)
    return whole


def numbered(machine: Machine, result: Result) -> list[Process]:
    """Give a machine's processes, numbered over all machines."""
    return [attrs.evolve(each, index=machine.part.first_process + each.index) for each in result.processes]

"""Verdicts on the circumstances of a run."""

from __future__ import annotations

from ..result import Result, Verdict


def failed(result: Result) -> Verdict | None:
    """Report processes that gave no result: their counts are not in the figures."""
    if not result.failures:
        return None
    return Verdict(name="process failed", level="failure", sentence=f"{'; '.join(result.failures)}.")


def faults_on_purpose(result: Result) -> Verdict | None:
    """Report that the server was asked to misbehave; it is only known of servers on this machine."""
    faults = result.environment.get("faults")
    if not faults:
        return None
    return Verdict(
        name="faults on purpose",
        level="warning",
        sentence=f"THE SERVER INJECTS FAULTS ON PURPOSE ({'; '.join(faults)}): what is late, lost or wrong is what it "
        "was asked for, and the figures are not those of a good server.",
    )


def loopback(result: Result) -> Verdict | None:
    """Report that the server is on this machine.

    There is no network card and no wire, and client and server share processors and memory.
    """
    if not result.environment.get("loopback"):
        return None
    return Verdict(
        name="loopback",
        level="note",
        sentence="Client and server ran on one machine: use this to compare servers; a network gives other figures.",
    )


def cut_short(result: Result) -> Verdict | None:
    """Report that the run was interrupted."""
    if not result.cut_short:
        return None
    return Verdict(
        name="cut short",
        level="warning",
        sentence=f"The run was interrupted after {result.tally.window:.1f} of "
        f"{result.plan.duration:g} measured seconds.",
    )

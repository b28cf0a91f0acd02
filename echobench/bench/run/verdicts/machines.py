"""Verdicts on a load that several machines sent."""

from __future__ import annotations

from typing import Final

from ..result import Result, Verdict

ALIKE: Final = 0.99  # of the longest window: machines that measured for less did not measure the same


def machines_missing(result: Result) -> Verdict | None:
    """Report machines that gave no result: their parts of the load are in no figure."""
    missing = [each for each in result.machines if each.result is None]
    if not missing:
        return None
    named = "; ".join(f"{each.name}: {each.missing}" for each in missing)
    flows = sum(each.part.flows for each in missing)
    return Verdict(
        name="machine missing",
        level="failure",
        sentence=f"{len(missing)} of {len(result.machines)} machines gave no result ({named}). What they sent, on "
        f"{flows:,} of {result.plan.flows:,} flows, is in no figure; the others were ended early.",
    )


def several_addresses(result: Result) -> Verdict | None:
    """Report that the machines did not all send to one address of the server."""
    used: dict[str, list[str]] = {}
    for each in result.machines:
        if each.result is not None:
            used.setdefault(each.result.address, []).append(each.name)
    if len(used) < 2:
        return None
    said = "; ".join(f"{address} from {', '.join(names)}" for address, names in used.items())
    return Verdict(
        name="several addresses",
        level="warning",
        sentence=f"The machines sent to different addresses of {result.plan.host} ({said}): give one as HOST if they "
        "are different servers, or different ways to one.",
    )


def windows_differ(result: Result) -> Verdict | None:
    """Report that the machines did not measure for the same time, so that their sum is of no time at all."""
    windows = {each.name: each.result.tally.window for each in result.machines if each.result is not None}
    if result.plan.count is not None or len(windows) < 2:  # with a count each is done when it is done
        return None
    shortest, longest = min(windows, key=windows.__getitem__), max(windows, key=windows.__getitem__)
    if windows[shortest] >= ALIKE * windows[longest]:
        return None
    return Verdict(
        name="windows differ",
        level="warning",
        sentence=f"{shortest} measured for {windows[shortest]:.2f} s, and {longest} for {windows[longest]:.2f} s: "
        "read their figures apart, the rates of all together are too low.",
    )

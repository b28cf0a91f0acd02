"""What a second process costs and brings: work per CPU second, and the rate when server and load share two CPUs."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

from results_page.subjects import MeasureError

from .servers import Kind, drive, in_c, ours, serving

LOADS = {"tcp-50": ("tcp", 50, ()), "udp-16": ("udp", 16, ("-w", "12"))}
"""By name: the transport, the number of flows, and further options of the driver. Messages are of 64 bytes."""


def shares(flows: int, drivers: int) -> list[int]:
    """Divide flows among drivers."""
    return [flows // drivers + (number < flows % drivers) for number in range(drivers)]


def measure(
    name: str, kinds: Sequence[Kind], cpus: tuple[Sequence[int], Sequence[int]], drivers: int, chosen: Any
) -> list[dict[str, Any]]:
    """Run each server once under one load, in random order; give a run for each."""
    transport, flows, options = LOADS[name]
    order = list(kinds)
    random.shuffle(order)
    runs = []
    for kind in order:
        each = [["-c", str(share), *options] for share in shares(flows, drivers)]
        try:
            with serving(kind, cpus[0], transport) as server:
                run = drive(server, transport, each, cpus[1], chosen)
        except MeasureError as error:
            run = {"failed": str(error)}
        runs.append({"load": name, "server": kind.name, **run})
        said = run.get("failed") or (
            f"{run['rate']:,.0f} msg/s, {run['echoes'] / run['server_cpu']:,.0f} msg per CPU second, "
            f"steal {run['steal']:.1%}, others {run['others']:.1%}"
        )
        print(f"{name}, {kind.name}: {said}", file=sys.stderr)
    return runs


def cost(chosen: Any, cpus: tuple[int, int]) -> list[dict[str, Any]]:
    """One process and two workers, both on the first CPU alone; the driver has the second."""
    runs = []
    for number in range(chosen.rounds):
        for name in LOADS:
            found = measure(name, [ours(1), ours(2)], ([cpus[0]], [cpus[1]]), 1, chosen)
            runs += [{"round": number, **run} for run in found]
    return runs


def rate(chosen: Any, cpus: tuple[int, int]) -> list[dict[str, Any]]:
    """One process and two, echobench's and C's, on both CPUs, with two drivers on the same CPUs."""
    runs = []
    for number in range(chosen.rounds):
        for name, (transport, _, _) in LOADS.items():
            kinds = [ours(1), ours(2), in_c(1, transport), in_c(2, transport)]
            runs += [{"round": number, **run} for run in measure(name, kinds, (cpus, cpus), 2, chosen)]
    return runs

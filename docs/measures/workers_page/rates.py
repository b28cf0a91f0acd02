"""What a second process costs and brings, when server and load share two CPUs: work per CPU second, and the rate."""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Sequence
from typing import Any

from results_page.subjects import MeasureError

from .servers import Kind, drive, in_c, ours, serving

LOADS = {"tcp-50": ("tcp", 50, ()), "udp-16": ("udp", 16, ("-w", "12"))}
"""By name: the transport, the number of flows, and further options of the driver. Messages are of 64 bytes."""

DRIVERS = 2
"""Processes of the load, which divide the flows."""

EACH = "-each"
"""Ends the name of two workers that are given twice as many flows, so that each has as many as one process."""


def shares(flows: int, drivers: int) -> list[int]:
    """Divide flows among drivers."""
    return [flows // drivers + (number < flows % drivers) for number in range(drivers)]


def kinds(transport: str) -> list[Kind]:
    """Give the servers: one process and two, echobench's and C's, and two with twice the flows."""
    twice = dataclasses.replace(ours(2), name=f"ours-2{EACH}")
    return [ours(1), ours(2), twice, in_c(1, transport), in_c(2, transport)]


def measure(name: str, kind: Kind, cpus: Sequence[int], chosen: Any) -> dict[str, Any]:
    """Run one server under one load, both on all of some CPUs."""
    transport, flows, options = LOADS[name]
    flows *= 2 if kind.name.endswith(EACH) else 1
    each = [["-c", str(share), *options] for share in shares(flows, DRIVERS)]
    try:
        with serving(kind, cpus, transport) as server:
            run = drive(server, transport, each, cpus, chosen)
    except MeasureError as error:
        run = {"failed": str(error)}
    said = run.get("failed") or (
        f"{run['rate']:,.0f} msg/s, {run['echoes'] / run['server_cpu']:,.0f} msg per CPU second, "
        f"steal {run['steal']:.1%}, others {run['others']:.1%}"
    )
    print(f"{name}, {kind.name}: {said}", file=sys.stderr)
    return {"load": name, "server": kind.name, **run}


def rates(chosen: Any, cpus: tuple[int, int]) -> list[dict[str, Any]]:
    """Run all servers under all loads, in random order within each round."""
    runs = []
    for number in range(chosen.rounds):
        for name, (transport, _, _) in LOADS.items():
            order = kinds(transport)
            random.shuffle(order)
            runs += [{"round": number, **measure(name, kind, cpus, chosen)} for kind in order]
    return runs

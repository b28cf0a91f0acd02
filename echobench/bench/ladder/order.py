"""Decides what the ladder runs: which rungs under which loads, on which CPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from ...host.examination import warnings
from ..compare import profiles
from ..compare.analysis.comparison import Load
from ..compare.order import Order
from ..compare.server import placement
from ..compare.server.lifecycle import Setting
from ..run.plan import PlanError
from .rungs import REFERENCE, chosen

DEFAULTS: Final[dict[str, Any]] = {
    "rounds": 5, "duration": 1.0, "warmup": 0.5, "seed": 1, "count_calls": 0.3, "loads": "one,small,udp",
}  # fmt: skip
BOUNDS: Final[dict[str, tuple[float, float]]] = {"rounds": (1, 1000), "count_calls": (0, 60)}


def make_order(options: Mapping[str, Any]) -> Order:
    """Make the order. Raises click.UsageError."""
    known = {**DEFAULTS, **{name: value for name, value in options.items() if value not in (None, ())}}
    for name, (low, high) in BOUNDS.items():
        if not low <= known[name] <= high:
            dashed = name.replace("_", "-")
            raise click.UsageError(f"--{dashed} is at least {low:g} and at most {high:g}, not {known[name]:g}")
    rungs = chosen(known.get("rungs", ()))
    loads = _loads(options["loads"], known)
    pairs = frozenset((rung.name, load.name) for rung in rungs for load in loads if rung.can(load.plan))
    used = tuple(rung for rung in rungs if any((rung.name, load.name) in pairs for load in loads))
    for load in loads:
        if not any(each == load.name for _, each in pairs):
            raise click.UsageError(f"no rung that was chosen can serve the load {load.name}: choose others")
    there = placement.cores(placement.allowed())
    given: tuple[tuple[int, ...], tuple[int, ...]] = (known.get("server_cpus", ()), known.get("load_cpus", ()))
    if missing := sorted({*given[0], *given[1]} - set(placement.allowed())):
        raise click.UsageError(f"CPU {missing[0]} is not available: choose from {placement.allowed()}")
    server, load_cpus, notes = placement.place(*given, there)
    names = [rung.name for rung in used]
    return Order(
        subjects=tuple(rung.subject() for rung in used),
        loads=tuple(loads),
        rounds=known["rounds"],
        extra_rounds=0,
        seed=known["seed"],
        setting=Setting(server_cpus=server, load_cpus=load_cpus),
        idle_connections=0,
        count_calls=known["count_calls"],
        notes=(*notes, *warnings()),
        reference=REFERENCE if REFERENCE in names else names[0],
        is_checked=False,  # stock Twisted fails a clause, and would have no figure
        pairs=pairs,
    )


def _loads(given: Sequence[Sequence[Load]], known: Mapping[str, Any]) -> list[Load]:
    loads = [load for several in given for load in several] or profiles.parse(DEFAULTS["loads"])
    names = [load.name for load in loads]
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(f"two loads have the name {name!r}: give each its own name")
    try:
        return [profiles.timed(load, duration=known["duration"], warmup=known["warmup"]) for load in loads]
    except PlanError as error:
        raise click.UsageError(str(error)) from None

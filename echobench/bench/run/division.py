"""Divides a run among machines: which flows, which part of the rate, and which source ports each has."""

from __future__ import annotations

from typing import Any

import attrs

from .plan import Plan, Share, shares


@attrs.frozen(kw_only=True)
class Part:
    """What one machine does of a run.

    Flows and processes are numbered over all machines. So no two machines have a source port, a payload or a sequence
    of random numbers in common, and the messages of the open model leave them in turn.
    """

    first_process: int
    processes: int
    first_flow: int
    flows: int
    rate: float | None
    """Messages per second; None in models without a rate."""
    count: int | None
    source_ports: tuple[int, int] | None
    """The first and the last; None if the system chooses them."""

    def plan(self, whole: Plan) -> Plan:
        """Give what this machine does as a plan of its own: what its figures are judged by."""
        own = {name: getattr(self, name) for name in ("processes", "flows", "rate", "count", "source_ports")}
        return attrs.evolve(whole, machines=1, **own)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Part:
        """Read what ``attrs.asdict`` gave. Raises TypeError."""
        ports = stored["source_ports"]
        return cls(**{**stored, "source_ports": None if ports is None else tuple(ports)})


def divide(plan: Plan) -> tuple[Part, ...]:
    """Divide a plan among its machines, as evenly as its processes are."""
    each = shares(plan)
    return tuple(_part(plan, each[n : n + plan.processes]) for n in range(0, plan.generators, plan.processes))


def _part(plan: Plan, mine: list[Share]) -> Part:
    flows = sum(share.flows for share in mine)
    ports = None
    if plan.source_ports is not None:
        # As in load/sources.py: flow number k has the port ``first + k // addresses``.
        addresses = max(1, len(plan.sources))
        first = plan.source_ports[0] + mine[0].first_flow // addresses
        ports = (first, plan.source_ports[0] + (mine[0].first_flow + flows - 1) // addresses)
    return Part(
        first_process=mine[0].index,
        processes=len(mine),
        first_flow=mine[0].first_flow,
        flows=flows,
        rate=None if plan.rate is None else plan.rate / plan.machines,
        count=None if plan.count is None else sum(share.count or 0 for share in mine),
        source_ports=ports,
    )

"""Which address and which port each flow is sent from."""

from __future__ import annotations

from ..plan import Plan


def source(plan: Plan, flow: int) -> tuple[str, int]:
    """Give the address ("" is any) and the port (0 is any) that a flow of the run is bound to."""
    own = plan.sources[flow % len(plan.sources)] if plan.sources else ""
    return own, plan.source_ports[0] + flow // max(1, len(plan.sources)) if plan.source_ports else 0

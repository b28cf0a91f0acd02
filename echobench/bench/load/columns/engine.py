"""The ``columns`` engine: load over TCP and UDP from the kernel's own tables.

The tables are those of echobench/kernel/.
"""

from __future__ import annotations

import time
from typing import Any, Final

from .... import kernel
from ...run.plan import Plan, Share
from ...run.tally import Tally
from .. import Tick
from ..rehearsal import to_itself

LARGEST: Final = 1 << 12
"""Bytes of the largest message that is handled as a row: gathering larger ones costs more than columns save."""
FEW: Final = 8
"""Connections of a process; so many are served sooner by a call for each message than by a ring and its batches."""


def in_rows(share: Share) -> bool:
    """Whether a load over TCP has one small message under way on each of many connections, all of one size."""
    plan, sizes = share.plan, share.plan.sizes()
    small = len(sizes) == 1 and int(sizes[0]) <= LARGEST
    return small and plan.model == "closed" and plan.window == 1 and share.flows > FEW


class ColumnsLoad:
    """Chooses the class for a plan's transport and model.

    See :class:`echobench.bench.load.Engine`.
    """

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None:
        self._engine: Any
        if share.plan.transport == "udp":
            from .udp_models import ClosedUdp, FloodUdp, OpenUdp
            from .udp_shuttles import ClosedTrains, in_shuttles

            closed = ClosedTrains if in_shuttles(share.plan) else ClosedUdp
            model = {"closed": closed, "open": OpenUdp, "flood": FloodUdp}[share.plan.model]
            self._engine = model(share, address, tick)
        elif share.plan.model == "connect":
            from .connects import Connects

            self._engine = Connects(share, address, tick)
        else:
            from .tcp_rows import TcpRows
            from .tcp_shuttles import TcpShuttles, in_shuttles
            from .tcp_streams import TcpStreams

            plan = share.plan
            kind = TcpRows if in_rows(share) else TcpShuttles if in_shuttles(plan) else TcpStreams
            self._engine = kind(share, address, tick)
        self.tally: Tally = self._engine.tally
        self.open, self.run = self._engine.open, self._engine.run
        self.stop, self.close = self._engine.stop, self._engine.close
        self._share, self._address = share, address

    def rehearse(self) -> Tally:
        """Have an engine of the same class send some messages to itself. Raises LoadError, PlanError and OSError."""
        engine = type(self._engine)(*to_itself(self._share, self._address[0]), lambda now, tally: None)
        try:
            engine.open()
            engine.run(time.perf_counter_ns())
        finally:
            engine.close()
        return engine.tally  # type: ignore[no-any-return]

    @staticmethod
    def unavailable(share: Share) -> str | None:
        """Return what this engine or this machine lacks; None if it can run."""
        plan = share.plan
        if plan.transport == "tls":
            return "it has no TLS"
        if (missing := kernel.missing()) is not None:
            return missing
        return _udp_unavailable(plan) if plan.transport == "udp" else _tcp_unavailable(share)


def _udp_unavailable(plan: Plan) -> str | None:
    from ....engines.udp.trial import joins, trial

    if (failed := trial()) is not None:
        return failed
    return "this kernel does not cut up trains (UDP_SEGMENT)" if plan.gso and not joins() else None


def _tcp_unavailable(share: Share) -> str | None:
    if not in_rows(share):
        return None  # it needs no ring
    from ....engines.tcp.ring_trial import try_ring
    from .tcp_rings import sizes

    return try_ring(sizes(share.flows))

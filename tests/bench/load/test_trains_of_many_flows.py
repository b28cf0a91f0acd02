"""Trains of several flows in one turn: all are checked, and then all are answered by the next ones."""

from __future__ import annotations

import select
import socket
import time

import pytest
from rigs.helpers import needs_linux

from echobench.bench.run.plan import Plan, shares

WINDOW = 4


def noting(share, server):
    """The closed model over UDP, but for one turn, and with a note of the order in which it does things."""
    from echobench.bench.load.columns.udp_models import ClosedUdp

    class Noting(ClosedUdp):
        def offer(self):
            self.owe(slice(None), self.plan.window)
            self._pay(time.perf_counter_ns())
            for _ in range(len(self.fds) * WINDOW):
                server.sendto(*server.recvfrom(2048))
            for fd in self.fds:
                assert select.select([fd], [], [], 20)[0]
            self.notes = []
            self.receive([(fd, select.EPOLLIN) for fd in self.fds], False)

        def _take_trains(self, trains, flow, came):
            self.notes.append(("checked", flow))
            return super()._take_trains(trains, flow, came)

        def ask(self, flow, number, intended):
            if hasattr(self, "notes"):
                self.notes.append(("sent", flow))
            super().ask(flow, number, intended)

    return Noting(share, server.getsockname(), lambda *_: None)


@needs_linux
def test_nothing_is_sent_before_all_are_checked():
    from echobench.engines.udp.trial import joins, trial

    if trial() is not None or not joins():
        pytest.skip("this kernel does not cut up trains")
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        host, port = server.getsockname()
        how = {"transport": "udp", "gso": True, "flows": 3, "window": WINDOW, "size": "100"}
        plan = Plan(host=host, port=port, timeout=60.0, warmup=0.0, **how)
        load = noting(shares(plan)[0], server)
        load.open()
        try:
            load.run(time.perf_counter_ns())
        finally:
            load.close()
    assert load.notes == [("checked", flow) for flow in range(3)] + [("sent", flow) for flow in range(3)]

"""The flood model: datagrams one way, as fast as the socket takes them.

A sent datagram counts as ``sent`` and ``one_way``; answers are read and thrown away.
"""

from __future__ import annotations

from typing import Final

from ..payload import message
from ..window import SECOND
from .offer import MILLISECOND, PAUSE
from .sockets import Endpoint, UDPOffer

FOR: Final = 2 * MILLISECOND  # nanoseconds of sending before the reactor may read the answers
BATCH: Final = 64


class Flood(UDPOffer):
    """Sends on one flow after the other."""

    _next = 0

    def prepare(self) -> None:
        """Start each flow's sequence numbers."""
        self._sizes = self.plan.sizes().tolist()
        self._sequence = [0] * self.share.flows
        self._pause_until = [0] * self.share.flows

    def turn(self, now: int) -> int:
        """Send for a while."""
        until, began = now + FOR, now
        while now < until and now < self.account.window.last and not self.spent:
            went = self._batch(now)
            now = self.account.now()
            if not went:  # the send buffer is full, or every flow pauses
                return now + MILLISECOND
            self.account.worked(went, began, now)
            began = now
        return now

    def _batch(self, now: int) -> int:
        """Send up to ``BATCH`` datagrams; return how many the kernel took."""
        went = 0
        for _ in range(BATCH):
            flow = self._next % self.share.flows
            self._next += 1
            if self._pause_until[flow] > now:
                continue
            if not self.take(now):
                break
            how = self._send(self._endpoints[flow], now)
            if how == "sent":
                went += 1
                continue
            self.account.began(now)
            self.account.ended(now, how)
            if how == "send_buffer_full":
                break
        if went:
            self.account.flooded(now, went, went)
        return went

    def _send(self, endpoint: Endpoint, now: int) -> str:
        flow = endpoint.flow
        sequence = self._sequence[flow]
        self._sequence[flow] += 1
        size = self._sizes[sequence % len(self._sizes)]
        return endpoint.send(message(self.share.first_flow + flow, sequence, now, size))

    def received(self, flow: int, data: bytes, stamp: int | None) -> None:
        """Throw the answer away."""

    def refused(self, flow: int) -> None:
        """Pause the flow."""
        if hasattr(self, "_pause_until"):
            self._pause_until[flow] = self.account.now() + int(PAUSE * SECOND)

    @property
    def idle(self) -> bool:
        """Always True: no answer is waited for."""
        return True

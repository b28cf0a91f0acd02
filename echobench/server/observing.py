"""Has a service of echo observed: by metrics, and by probes."""

from __future__ import annotations

from ..histograms import BatchSizes
from .metering import MetricsService
from .metrics.delay import Delays
from .metrics.process import look
from .metrics.sample import Sample
from .service import EchoService


def observe(echo: EchoService, host: str, port: int) -> MetricsService:
    """Make the service that shows what ``echo`` does, at an address; ``echo`` is not started yet."""
    delays, batches = Delays(), BatchSizes()
    echo.batch_sizes = batches

    def samples() -> list[Sample]:
        return [
            Sample(
                counters=echo.snapshot(),
                process=look(),
                delays=delays.histogram.copy(),
                batches=BatchSizes(batches.stream.copy(), batches.datagram.copy()),
                engines=echo.engines(),
                holding=echo.holding(),
                faults=echo.fault_counts(),
            )
        ]

    return MetricsService(
        host, port, samples=samples, addresses=echo.addresses, delays=delays, reactor=lambda: echo.clock
    )

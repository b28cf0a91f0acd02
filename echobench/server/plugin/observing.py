"""Has a server observed, of one process or of several: by metrics, by probes, and on a page."""

from __future__ import annotations

from ..metering import MetricsService
from ..metrics.delay import Delays
from ..observed import Observed
from ..processes.parent import Parent
from ..service import EchoService
from ..workers.samples import Samples


def observe(echo: EchoService, host: str, port: int) -> MetricsService:
    """Make the service that shows what ``echo`` does, at an address; ``echo`` is not started yet."""
    observed = Observed(echo)
    return MetricsService(
        host,
        port,
        samples=lambda: [observed.sample()],
        brief=lambda: [observed.sample(brief=True)],
        addresses=echo.addresses,
        delays=observed.delays,
        reactor=lambda: echo.clock,
    )


def observe_workers(parent: Parent, host: str, port: int) -> MetricsService:
    """Make the service that shows what the workers of ``parent`` do; they are not started yet."""
    parent.observed = True
    delays = Delays()
    samples = Samples(parent, delays)
    parent.departed.append(samples.ended)
    return MetricsService(
        host,
        port,
        samples=samples,
        addresses=parent.addresses,
        delays=delays,
        reactor=lambda: parent.clock,
        fresh=parent.fresh,
    )

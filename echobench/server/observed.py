"""Looks at a service of echo, in the process that serves: for its own metrics, or for its parent's."""

from __future__ import annotations

from ..clocks import steady
from ..histograms import BatchSizes
from .metrics.delay import Delays
from .metrics.process import look
from .metrics.sample import Sample
from .service import EchoService


class Observed:
    """A service that is looked at; it is not started yet. ``delays`` are those of its reactor."""

    def __init__(self, echo: EchoService) -> None:
        self._echo = echo
        self.delays = Delays()
        self._batches = echo.batch_sizes = BatchSizes()

    def start(self) -> None:
        """Begin to measure how late timers are."""
        self.delays.start(steady(self._echo.clock))

    def stop(self) -> None:
        """End that."""
        self.delays.stop()

    def sample(self, *, brief: bool = False) -> Sample:
        """Say what the service has done so far; ``brief`` leaves out what the system must be asked for."""
        echo, batches = self._echo, self._batches
        return Sample(
            counters=echo.snapshot(),
            process=look(time_only=brief),
            delays=self.delays.histogram.copy(),
            delay=self.delays.latest,
            batches=BatchSizes(batches.stream.copy(), batches.datagram.copy()),
            engines=echo.engines(),
            holding=echo.holding(),
            faults=echo.fault_counts(),
        )

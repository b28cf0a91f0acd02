"""How a worker tells its parent what it does: a sample without its counters, which it reports anyway, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...counters import Snapshot
from ...engines import Holding
from ...histograms import BATCH_BOUNDS, BatchSizes, Histogram
from .delay import BOUNDS
from .sample import Process, Sample


def tell(sample: Sample) -> dict[str, Any]:
    """Write it as values of JSON."""
    return {
        "process": attrs.asdict(sample.process),
        "delays": _counts(sample.delays),
        "delay": sample.delay,
        "batches": [_counts(sample.batches.stream), _counts(sample.batches.datagram)],
        "engines": dict(sample.engines),
        "holding": None if sample.holding is None else list(attrs.astuple(sample.holding)),
        "faults": sample.faults,
    }


def told(values: Mapping[str, Any], counters: Snapshot) -> Sample:
    """Read what :func:`tell` wrote. Raises ValueError, KeyError or TypeError if it is something else."""
    stream, datagram = (_histogram(BATCH_BOUNDS, each) for each in values["batches"])
    return Sample(
        counters=counters,
        process=Process(**values["process"]),
        delays=_histogram(BOUNDS, values["delays"]),
        batches=BatchSizes(stream, datagram),
        delay=values["delay"],
        engines=values["engines"],
        holding=None if values["holding"] is None else Holding(*values["holding"]),
        faults=values["faults"],
    )


def _counts(histogram: Histogram) -> list[Any]:
    return [histogram.counts, histogram.total]


def _histogram(bounds: Any, values: Any) -> Histogram:
    counts, total = values
    if len(counts) != len(bounds) + 1:
        raise ValueError(f"{len(counts)} intervals are not those of {len(bounds)} bounds")
    return Histogram(bounds, list(counts), total)

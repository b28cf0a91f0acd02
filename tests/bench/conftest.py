"""What the benchmark's tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def calm_host() -> Iterator[None]:
    """Keep what else this host does out of the results; tests of that say what it does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echobench.bench.compare.order.warnings", lambda: ())
        patch.setattr("echobench.bench.sweep.steps.warnings", lambda: ())
        yield

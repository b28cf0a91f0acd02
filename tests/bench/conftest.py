"""What the benchmark's tests have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def calm_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what else this host does out of the results; tests of that say what it does."""
    monkeypatch.setattr("echobench.bench.compare.order.warnings", lambda: ())
    monkeypatch.setattr("echobench.bench.sweep.steps.warnings", lambda: ())

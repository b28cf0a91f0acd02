"""The long form of the hostile cases, and the report of what was tried."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

import pytest

from echobench import __version__


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the long form."""
    group = parser.getgroup("hostile cases")
    group.addoption("--long", action="store_true", help="do the long amount of each hostile case")
    group.addoption("--report", type=Path, metavar="FILE", help="store what was tried, and what was lost, as JSON")


@pytest.fixture
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether the long amounts are to be done."""
    return bool(pytestconfig.getoption("--long"))


class Report:
    """Collects the outcomes; with several workers it is the controller's."""

    def __init__(self, path: Path, is_long: bool) -> None:
        self.path, self.is_long = path, is_long
        self.outcomes: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the outcome that the test left with its report."""
        properties = dict(report.user_properties)
        if report.when == "call" and "hostile" in properties:
            self.outcomes.append(
                {**properties["hostile"], "passed": report.passed, "seconds": round(report.duration, 1)}
            )

    def pytest_sessionfinish(self) -> None:
        """Store them."""
        outcomes = sorted(self.outcomes, key=lambda each: (each["case"], each["engine"]))
        whole = {
            "version": __version__,
            "kernel": platform.release(),
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "long": self.is_long,
            "outcomes": outcomes,
        }
        self.path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Report where it was asked for, once and not in each worker."""
    path = config.getoption("--report", None)
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Report(path, bool(config.getoption("--long"))))

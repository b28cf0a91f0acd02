"""The page of the metrics names what is exposed, all of it and nothing else."""

from __future__ import annotations

import re

from rigs.metered import numbers
from rigs.places import DOCS

from .test_collector import exposed, sample


def names():
    return {re.sub(r"_(bucket|sum|count|created)$", "", name) for name, _ in numbers(exposed(sample()))}


def test_every_metric_is_in_the_table():
    text = (DOCS / "reference/metrics.md").read_text()
    assert set(re.findall(r"^\| `((?:echobench|process)_\w+)` \|", text, re.MULTILINE)) == names()


def test_metrics_that_other_pages_name_exist():
    for page in (DOCS / "how-to/watch.md", DOCS / "reference/metrics.md"):
        for name in re.findall(r"\b(?:echobench|process)_[a-z_]*[a-z]\b", page.read_text()):
            assert name in names(), f"{page.name} names {name}"

"""Servers with ``--metrics``, and clients that ask them over HTTP."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from rigs.helpers import LIMIT, wait_for


def url_of(server: Any) -> str:
    """Where a server in a process of its own shows its metrics."""
    wait_for(lambda: "metrics at http" in server.output)
    return re.search(r"metrics at (http://\S+/)", server.output)[1]


def get(url: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Ask once; give the status, the body and the headers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=LIMIT) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def numbers(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Give the value of each series of a page of metrics, by its name and labels without the worker's."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = frozenset((name, value) for name, value in sample.labels.items() if name != "worker")
            found[sample.name, labels] = sample.value
    return found


def number(text: str, name: str, **labels: str) -> float:
    """Give the sum of the series that have these labels, and perhaps others; there is one at least."""
    found = [
        value for (its, has), value in numbers(text).items() if its == name and labels.items() <= dict(has).items()
    ]
    assert found, f"there is no {name} with {labels}"
    return sum(found)

"""How the workers of a scheduler are named."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from echobench.bench.cluster.on_dask import _in_order, _names


def workers(*each):
    """Give what a scheduler says of workers: their hosts, and the names that they were given, if any."""
    found = {}
    for port, (host, name) in enumerate(each, 4000):
        address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
        found[address] = {"host": host, "name": address if name is None else name}
    return found


@pytest.mark.parametrize(
    ("each", "names"),
    [
        ([("10.0.0.1", None), ("10.0.0.2", None)], ["10.0.0.1", "10.0.0.2"]),
        ([("10.0.0.1", None), ("10.0.0.1", None)], ["10.0.0.1:4000", "10.0.0.1:4001"]),
        ([("10.0.0.1", "load1"), ("10.0.0.2", 7)], ["7", "load1"]),
        ([("10.0.0.1", "load10"), ("10.0.0.2", "load9")], ["load9", "load10"]),
        ([("2001:db8::1", None), ("2001:db8::1", None)], ["[2001:db8::1]:4000", "[2001:db8::1]:4001"]),
        ([("10.0.0.1", "10.0.0.2"), ("10.0.0.2", None)], ["10.0.0.1:4000", "10.0.0.2:4001"]),
        ([("10.0.0.1", 7), ("10.0.0.2", "7")], ["10.0.0.1:4000", "10.0.0.2:4001"]),
    ],
)
def test_a_name_is_of_one_worker(each, names):
    assert list(_names(workers(*each)).values()) == names


def test_numbers_in_names_are_in_order():
    names = ["web", "load10b", "load10", "load2", "10.0.1.1", "10.0.0.10", "10.0.0.9", ""]
    assert sorted(names, key=_in_order) == names[::-1]

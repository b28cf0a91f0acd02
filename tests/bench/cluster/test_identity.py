"""Two machines share a load if they run the same."""

from __future__ import annotations

import attrs
import pytest

import echobench
from echobench.bench.cluster import identity
from echobench.bench.cluster.identity import Identity, difference

MINE = Identity("1.2.3", "0123456789ab", "3.12.4")


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        ({}, False),
        ({"python": "3.12.11"}, False),
        ({"python": "3.13.4"}, True),
        ({"python": "3.1.2"}, True),
        ({"version": "1.2.4"}, True),
        ({"source": "ba9876543210"}, True),
    ],
)
def test_what_differs(other, differs):
    theirs = attrs.evolve(MINE, **other)
    sentence = difference(theirs, MINE)
    assert bool(sentence) == differs
    if differs:
        assert sentence == f"it has {theirs}, and here is {MINE}: install the same on all"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Give a folder that is taken for the package's."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/one.py").write_text("1\n")
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(echobench, "__file__", str(tmp_path / "__init__.py"))
    return tmp_path


def source():
    return identity.ours.__wrapped__().source


def test_the_source_is_that_of_every_file(package):
    before = source()
    (package / "bench/one.py").write_text("2\n")
    changed = source()
    (package / "bench/one.py").rename(package / "bench/two.py")
    assert len({before, changed, source()}) == 3


def test_a_wheel_and_a_working_copy_of_the_same_source_are_the_same(package):
    """A wheel has the programs of the course in the package, and another system has other ends of lines."""
    before = source()
    (package / identity.CHAPTERS / "01").mkdir(parents=True)
    (package / identity.CHAPTERS / "01/echo.py").write_text("print()\n")
    (package / "bench/one.py").write_bytes(b"1\r\n")
    assert source() == before

"""System calls for an echo: what is said of them in rows, tables and the page."""

from __future__ import annotations

import io
import re

import attrs
from rich.console import Console
from rigs.compare_results import a_comparison, synthetic

from echobench.bench.compare.analysis.comparison import Calls
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.page import compare_page
from echobench.bench.compare.terminal import show, show_side_by_side
from echobench.bench.words import apiece


def with_calls(**changes):
    """The ideal with a quarter of a call for an echo, and another, of which it is not known."""
    known = Calls(subject="ideal", load="small", calls=5_000, echoes=20_000)
    unknown = Calls(subject="mine", load="small", failure="its threads come and go")
    return attrs.evolve(synthetic(1, rounds=3), calls=(known, unknown), **changes)


def test_calls_for_each_echo():
    assert [row.system_calls for row in judge(with_calls())] == [0.25, None]
    assert [row.system_calls for row in judge(synthetic(1))] == [None, None]
    assert Calls(subject="a", load="b", calls=1, echoes=0).each is None


def test_numbers_apiece():
    assert [apiece(number) for number in (None, 0, 0.001, 0.25, 6, 1234.5)] == [
        "-", "0.00", "<0.01", "0.25", "6.00", "1,234.50"]  # fmt: skip


def shown(how, *args):
    out = io.StringIO()
    how(*args, Console(file=out, width=160, highlight=False), **({"wide": True} if how is show else {}))
    return [re.split(r"\s{2,}", line.strip()) for line in out.getvalue().splitlines()]


def cell(lines, subject, name="calls/echo"):
    head = next(line for line in lines if line[0] == "subject")
    row = next(line for line in lines if line[0] == subject)
    return row[head.index(name)]


def test_they_are_in_the_table():
    lines = shown(show, with_calls(notes=("system calls were not counted: it needs Linux",)))
    assert (cell(lines, "ideal"), cell(lines, "mine")) == ("0.25", "-")
    text = [" ".join(line) for line in lines]
    assert text.count("mine, small: its system calls were not counted: its threads come and go") == 1
    assert text.count("system calls were not counted: it needs Linux") == 1


def test_they_are_side_by_side():
    one, two = with_calls(), synthetic(2, rounds=3)
    lines = shown(show_side_by_side, [("one", one), ("two", two)])
    begin = lines.index(["subject", "one: calls/echo", "two: calls/echo"])
    assert lines[begin + 1 :] == [["ideal", "0.25", "-"]]
    assert "calls/echo" not in str(shown(show_side_by_side, [("one", two), ("two", two)])), "nobody knows any"


def test_they_are_on_the_page():
    comparison = with_calls()
    page = compare_page(comparison, judge(comparison))
    assert "calls/echo" in page
    assert "<td>0.25</td>" in page
    assert page.count("mine, small: its system calls were not counted: its threads come and go") == 1


def test_a_comparison_without_any_is_shown_too():
    empty = a_comparison([])
    assert cell(shown(show, empty), "ideal") == "-"
    assert "calls/echo" in compare_page(empty, judge(empty))

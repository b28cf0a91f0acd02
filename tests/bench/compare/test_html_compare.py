"""The page of a comparison, made of stand-ins that have what it asks for."""

from __future__ import annotations

import attrs
import pytest
from rigs.blast_results import a_result
from rigs.compare_results import a_comparison, a_run, synthetic, usage
from rigs.pages import HOSTILE, said, tree

from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.charts import rounds_chart
from echobench.bench.compare.page import compare_page
from echobench.bench.run.plan import Plan


@attrs.frozen
class Subject:
    name: str
    command: str | None = "server {port}"
    address: str | None = None


@attrs.frozen
class Load:
    name: str
    plan: Plan = Plan(host="h", flows=50)


@attrs.frozen
class Run:
    subject: str
    load: str
    result: object = None
    failure: str | None = None
    troubles: tuple = ()
    output: tuple = ()
    round: int = 1
    usage: object = None


@attrs.frozen
class Row:
    subject: str
    load: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ratio_all: float | None = None
    low_all: float | None = None
    high_all: float | None = None
    rounds: int = 3
    rounds_made: int = 3
    ratio_rate: float | None = 0.634
    server_cpu: float | None = 0.95
    generator_cpu: float | None = 0.41
    p99_9: float | None = 1.5e6
    basis: str | None = "cpu"
    ratio_cpu: float | None = None
    reference: str = "ideal"
    headline: bool = True
    caveat: str | None = None
    verdict: str = "waiting"
    why: str = "neither server nor generator was the limit"
    rate: float | None = 12_345.0
    per_cpu: float | None = 54_321.0
    cpu_per_echo: float | None = 18_409.0
    user_per_echo: float | None = 2_800.0
    kernel_per_echo: float | None = 15_609.0
    user_share: float | None = 0.152
    user_share_error: float | None = 0.012
    p50: float | None = 1e5
    p99: float | None = 1e6
    lost: float | None = 0.0
    slowest: float | None = 2e6
    system_calls: float | None = 4.25


@attrs.frozen
class Comparison:
    subjects: tuple
    loads: tuple = (Load("many"),)
    runs: tuple = ()
    calls: tuple = ()
    started: str = "2026-03-01T12:00:00+00:00"
    environment: dict = attrs.Factory(dict)
    rounds: int = 5
    server_cpus: tuple = (0,)
    load_cpus: tuple = ()
    notes: tuple = ("server and load shared a CPU",)
    cut_short: bool = False
    reference: str = "ideal"

    def plan(self, load):
        return next(each.plan for each in self.loads if each.name == load)

    def of(self, subject, load):
        return [run for run in self.runs if (run.subject, run.load) == (subject, load)]


@pytest.fixture
def compared():
    runs = tuple(Run(name, "many", a_result()) for name in ("ideal", "other") for _ in range(3))
    return Comparison(
        subjects=(Subject("ideal"), Subject("other"), Subject("gone", None, "h:7")),
        runs=(*runs, Run("gone", "many", None, "it did not start", ("it holds its port",), ("panic: no",))),
    )


ROWS = [
    Row("other", "many", 0.634, 0.61, 0.655, 0.598, 0.4, 0.894, rounds=3, rounds_made=7),
    Row("gone", "many", verdict="void", why="it did not start", rate=None, per_cpu=None, p50=None, p99=None, lost=None),
    Row("ideal", "many", 1.0, 1.0, 1.0, basis="rate"),
]


def test_the_page(compared):
    page = compare_page(compared, ROWS)
    read = tree(page)
    text = said(read)
    for figure in ("63.4", "61.0 to 65.5", "100.0 by rate", "12,345", "54,321", "1.50 ms", "95%", "41%", "4.25"):
        assert figure in text, figure
    assert "3 of 7" in text
    assert "an echo costs it 18.4 µs of CPU time: 2.80 µs in user space (15.2% ± 1.2) and 15.6 µs in the kernel" in text
    assert "63.4 % of ideal (61.0 to 65.5); over all rounds it is 59.8 % of ideal (40.0 to 89.4)" in text
    for sentence in (
        "it did not start (its output: panic: no)",
        "it holds its port",
        "server and load shared a CPU",
        "running at h:7",
    ):
        assert sentence in text, sentence
    heads = [(each, each.find("thead")) for each in read.iter("table")]
    tables = [each for each, head in heads if head is not None and "verdict" in "".join(head.itertext())]
    assert ["".join(row[0].itertext()) for row in tables[0].find("tbody")] == ["ideal", "other", "gone"]
    assert page.count('class="bar"') == 2, "one, for wide and for narrow pages"
    assert page.count('class="bar-plain"') == 2
    drawn = next(each for each in read.iter("svg") if each.find("rect") is not None)
    written = ["".join(each.itertext()) for each in drawn.iter("text")]
    assert written[-2:] == ["gone", "void"], "who has no bar is there with a word"


def test_hostile_names_are_names(compared):
    """The names of servers under test are given by users, and pages are passed on."""
    subjects = (Subject(HOSTILE, HOSTILE), Subject("other"))
    runs = (Run(HOSTILE, HOSTILE, a_result(), None, (HOSTILE,)), Run("other", HOSTILE, a_result()))
    changed = attrs.evolve(compared, subjects=subjects, loads=(Load(HOSTILE),), runs=runs, notes=(HOSTILE,))
    rows = [Row(HOSTILE, HOSTILE, 0.5, 0.4, 0.6, verdict=HOSTILE, why=HOSTILE), Row("other", HOSTILE)]
    page = compare_page(changed, rows)
    tree(page)
    assert "<script" not in page
    assert "<img" not in page


def test_the_chart_of_the_rounds():
    """A point for each round, and a cross where the host took CPU time; the ratios are in its table too."""
    runs = []
    for number, (speed, steal) in enumerate([(0.8, 0.0), (0.82, 0.0), (0.4, 0.3), (0.78, 0.0)], 1):
        runs += [a_run(number=number), a_run("mine", number, 10_000 * speed, usage=usage(steal=steal))]
    comparison = a_comparison(runs)
    chart = rounds_chart(comparison, comparison.loads[0])
    (mine,) = chart.series
    assert [(x, round(y, 6)) for x, y in mine.points] == [(1, 80), (2, 82), (3, 40), (4, 78)]
    assert mine.marks == ("dot", "dot", "cross", "dot")
    page = compare_page(comparison, judge(comparison))
    text = said(tree(page))
    assert "40.0 ✕" in text
    assert page.count("Percent of ideal by round") >= 2
    one = attrs.evolve(comparison, runs=tuple(runs[:2]))
    assert rounds_chart(one, one.loads[0]) is None, "one round is no course"
    assert rounds_chart(attrs.evolve(comparison, runs=()), comparison.loads[0]) is None


def test_the_chart_of_rounds_by_rate():
    runs = [attrs.evolve(run, usage=None) for run in synthetic(1, 0.8, rounds=30).runs]
    comparison = a_comparison(runs)
    chart = rounds_chart(comparison, comparison.loads[0])
    assert [each.name for each in chart.series] == ["mine, by rate"]
    assert chart.x.ticks[0] == 0
    assert chart.x.ticks[-1] >= 30
    assert len(chart.x.ticks) <= 12


def test_a_comparison_of_nothing(compared):
    tree(compare_page(attrs.evolve(compared, runs=(), notes=(), cut_short=True), []))

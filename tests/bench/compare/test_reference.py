"""The yardstick: another reference than the ideal, sentences that say who beats it, and times that only follow."""

from __future__ import annotations

import io
import json

import attrs
import pytest
from click.testing import CliRunner
from rich.console import Console
from rigs.compare_results import a_comparison, a_run, synthetic, usage

from echobench.bench.compare import command as module
from echobench.bench.compare import making, profiles
from echobench.bench.compare.analysis.comparison import Comparison, Load
from echobench.bench.compare.analysis.figures import fair_ratios
from echobench.bench.compare.analysis.gate import gate
from echobench.bench.compare.analysis.judge import drift, judge
from echobench.bench.compare.analysis.selection import fair
from echobench.bench.compare.charts import rounds_chart
from echobench.bench.compare.columns import WIDE
from echobench.bench.compare.command import compare, status
from echobench.bench.compare.live import Nobody
from echobench.bench.compare.order import Order
from echobench.bench.compare.page import bars_of, compare_page
from echobench.bench.compare.rounds import again
from echobench.bench.compare.sentences import claim, follows
from echobench.bench.compare.server.lifecycle import Setting
from echobench.bench.compare.terminal import show, table
from echobench.bench.run.plan import Plan

SPEEDS = {"ideal": 1.0, "go": 0.8, "c": 1.13}


def three(reference="ideal", **changes):
    runs = [a_run(name, n, 10_000 * speed) for n in (1, 2, 3, 4, 5) for name, speed in SPEEDS.items()]
    return a_comparison(changes.pop("runs", runs), ("go", "c"), reference=reference, **changes)


def rows(comparison):
    return {row.subject: row for row in judge(comparison)}


def printed(comparison):
    out = io.StringIO()
    show(comparison, Console(file=out, width=400, highlight=False), wide=True)
    return out.getvalue()


def test_all_ratios_are_to_the_reference():
    found = rows(three("go"))
    assert {name: row.ratio for name, row in found.items()} == {
        name: pytest.approx(speed / 0.8) for name, speed in SPEEDS.items()
    }
    assert {row.reference for row in found.values()} == {"go"}
    assert fair_ratios(three("go"), "ideal", "small").used == dict.fromkeys(range(1, 6), pytest.approx(1.25))
    text, page = printed(three("go")), compare_page(three("go"), judge(three("go")))
    assert "% of go" in text
    assert "% of go" in page
    assert "small: percent of go" in page
    assert "% of ideal" not in text + page
    assert [bar.name for bar in bars_of(three("go"), judge(three("go"))) if bar.plain] == ["go"]
    chart = rounds_chart(three("go"), three("go").loads[0])
    assert (chart.title, [each.name for each in chart.series]) == ("Percent of go by round", ["ideal", "c"])


def test_it_is_stored_and_read():
    read = Comparison.from_dict(three("go").as_dict())
    assert (read.reference, judge(read)) == ("go", judge(three("go")))
    stored = three().as_dict()
    del stored["reference"]
    assert Comparison.from_dict(stored).reference == "ideal", "a file of earlier times"


def test_steal_in_the_references_round_counts():
    """Its rounds are those that must be calm, and that are made again; the ideal's are not."""

    def stolen(subject):
        return [attrs.evolve(run, usage=usage(steal=0.5)) if (run.subject, run.round) == (subject, 2) else run
                for run in three().runs]  # fmt: skip

    of_go = three("go", runs=tuple(stolen("go")))
    assert [run.round for run in fair(of_go, "c", "small")[0]] == [1, 3, 4, 5]
    of_ideal = three("go", runs=tuple(stolen("ideal")))
    assert len(fair(of_ideal, "c", "small")[0]) == 5
    more = again(of_go.subjects, of_go.loads, of_go.runs, rounds=5, number=6, seed=1, reference="go")
    assert sorted(turn.subject.name for turn in more) == ["c", "go", "ideal"]
    more = again(of_go.subjects, of_go.loads, of_ideal.runs, rounds=5, number=6, seed=1, reference="go")
    assert sorted(turn.subject.name for turn in more) == ["go", "ideal"]


def test_the_gate_takes_it_too():
    """All of a slower machine's servers are slower, and only the reference has nothing to compare with."""
    stored, new = (attrs.evolve(synthetic(seed), reference="mine") for seed in (1, 2))
    half = [attrs.evolve(run, usage=attrs.evolve(run.usage, cpu=run.usage.cpu * 2)) for run in new.runs]
    found = {each.subject: each for each in gate(stored, attrs.evolve(new, runs=tuple(half)))}
    assert (found["ideal"].outcome, found["mine"].outcome) == ("passed", "slower")
    assert ", against mine's, is" in found["ideal"].sentence


def test_drift_is_the_references():
    runs = [a_run(name, n, 10_000 * (1 + 0.2 * (n % 2) * (name == "go"))) for n in (1, 2, 3, 4) for name in SPEEDS]
    assert drift(a_comparison(runs, ("go", "c"))) == []
    (note,) = drift(a_comparison(runs, ("go", "c"), reference="go"))
    assert "(go's work per CPU second, standard deviation)" in note


def test_the_status_is_that_of_the_reference():
    broken = [attrs.evolve(run, result=None, failure="no") if run.subject == "go" else run for run in three().runs]
    assert status(three(runs=tuple(broken))) == 0
    assert status(three("go", runs=tuple(broken))) == 1


@pytest.fixture
def ordered(monkeypatch):
    orders = []
    monkeypatch.setattr(module, "compare_all", lambda order, *_: orders.append(order) or three(order.reference))
    return orders


def invoke(*options):
    return CliRunner().invoke(compare, options, prog_name="compare", terminal_width=200)


def test_the_option(ordered, tmp_path):
    assert invoke("go=x {port}", "c=y {port}", "--reference", "go").exit_code == 0
    done = invoke("go=x {port}", "--reference", "rust")
    assert (done.exit_code, "--reference: 'rust' is no subject: choose from ideal, go" in done.stderr) == (2, True)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(three("go").as_dict()))
    assert invoke("--against", str(path)).exit_code in (0, 3), "with the stored reference"
    done = invoke("--against", str(path), "--reference", "c")
    assert "go, small: work per CPU second, against c's, is" in done.stdout.replace("\n", " ")
    assert [order.reference for order in ordered] == ["go", "go", "c"]


def test_the_ideal_has_as_many_workers_as_it_had(ordered, tmp_path):
    """A ratio to another ideal is another ratio."""
    path = tmp_path / "old.json"
    path.write_text(json.dumps(three().as_dict()))
    done = invoke("--against", str(path), "--ideal-workers", "2")
    assert done.exit_code == 2
    assert "--ideal-workers 2: the ideal of the stored comparison has 1" in done.stderr.replace("\n", " ")
    assert invoke("--against", str(path), "--ideal-workers", "1").exit_code in (0, 3)
    assert invoke("go=x {port}", "--ideal-workers", "2").exit_code == 0
    assert len(ordered) == 2


def test_stored_comparisons_are_shown_by_another(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(three().as_dict()))
    assert "times ideal" in invoke(str(path)).stdout
    shown = invoke(str(path), "--reference", "go").stdout
    assert "times go" in shown
    assert "1.25" in shown
    done = invoke(str(path), "--reference", "rust")
    assert (done.exit_code, "'rust' is no subject: choose from ideal, go, c" in done.stderr) == (2, True)


def row_of(**changes):
    row = rows(three())["c"]
    return attrs.evolve(row, **{"ratio": 1.05, "low": 1.03, "high": 1.07, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "c does 1.05 ± 0.02 times the work of ideal per CPU second: it beats ideal by 5.0 % (3.0 to 7.0)"),
        ({"low": 0.99, "high": 1.11}, "c does 1.05 ± 0.06 times the work of ideal per CPU second"),
        ({"low": None, "high": None}, "c does 1.05 times the work of ideal per CPU second"),
        ({"ratio": 0.8, "low": 0.79, "high": 0.81}, "c does 0.80 ± 0.01 times the work of ideal per CPU second"),
        (
            {"ratio": 2.43, "low": 2.4, "high": 2.46, "headline": False},
            "c does 2.43 ± 0.03 times the work of ideal per CPU second, at this load, not at saturation",
        ),
        (
            {"basis": "rate", "ratio": 1.5, "low": 1.4, "high": 1.6},
            "c has 1.50 ± 0.10 times the message rate of ideal: it beats ideal by 50.0 % (40.0 to 60.0)",
        ),
        (
            {"basis": "time", "ratio": 1.25, "low": 1.2, "high": 1.3, "ratio_cpu": 0.25},
            "the median time of c is 0.80 ± 0.03 times that of ideal: it beats ideal by 20.0 % (16.7 to 23.1); "
            "an echo costs it 4.00 times the CPU time",
        ),
        (
            {"basis": "time", "ratio": 0.8, "low": 0.79, "high": 0.81, "ratio_cpu": None},
            "the median time of c is 1.25 ± 0.02 times that of ideal",
        ),
        ({"ratio": None}, None),
        ({"subject": "ideal"}, None),
    ],
)
def test_the_sentence(changes, sentence):
    assert claim(row_of(**changes)) == sentence


def test_sentences_are_in_table_and_page():
    beats = "c does 1.13 times the work of ideal per CPU second: it beats ideal by 13.0 % (13.0 to 13.0)"
    assert beats in printed(three())
    assert beats in compare_page(three(), judge(three())).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("plan", "number"),
    [
        ({"flows": 50}, "50"),
        ({"flows": 1, "window": 8}, "8"),
        ({"flows": 1000, "window": 16}, "16,000"),
        ({"flows": 1}, None),
        ({"flows": 50, "model": "open", "rate": 5000.0}, None),
        ({"flows": 16, "model": "connect"}, None),
    ],
)
def test_times_that_follow_from_the_rate_are_dimmed(plan, number):
    """Of 50 under way and 100,000 a second, the mean time is 500 µs, whatever the server is."""
    load = Load(name="small", plan=Plan(host="127.0.0.1", **plan))
    why = follows(load)
    assert (why is None) == (number is None)
    comparison = three(loads=(load,))
    page = compare_page(comparison, judge(comparison))
    assert page.count('<span class="muted">100 µs</span>') == (3 if number else 0)
    if why:
        assert f"p50 is dimmed: {number} messages are always in flight, so their mean time is {number} divided" in why
        assert why in printed(comparison)
        assert why.replace("'", "&#x27;") in page or why in page


def test_only_p50_is_dimmed():
    (_, p50), (_, p99) = [
        (column.header, [getattr(cell, "style", "") for cell in column.cells])
        for column in table(judge(three()), WIDE, dims_p50=True).columns
        if column.header in ("p50", "p99")
    ]
    assert p50 == ["dim"] * 3
    assert p99 == [""] * 3
    loads = profiles.parse("small,one,steady,pipelined")
    assert [load.name for load in loads if follows(load)] == ["small", "pipelined"]


def test_a_comparison_that_is_run_has_it(monkeypatch):
    """Also its extra rounds are made for it: the host took the reference's time in the first."""

    def measure(turn, *_):
        made.append((turn.round, turn.subject.name))
        run = a_run(turn.subject.name, turn.round)
        return attrs.evolve(run, usage=usage(steal=0.5)) if made[-1] == (1, "go") else run

    made = []
    monkeypatch.setattr(making.rounds, "measure", measure)
    monkeypatch.setattr(making, "essentials", lambda *_: [])
    order = Order(
        subjects=three().subjects[:2], loads=three().loads, rounds=3, extra_rounds=1, seed=1, setting=Setting(),
        idle_connections=0, count_calls=0.0, reference="go",
    )  # fmt: skip
    comparison = making.compare_all(order, Nobody())
    assert comparison.reference == "go"
    assert sorted(subject for number, subject in made if number == 4) == ["go", "ideal"]
    assert rows(comparison)["ideal"].rounds == 3

"""Pages: whole, self-contained, and with the figures that the results have; whatever text is in these."""

from __future__ import annotations

import re

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import given
from rigs.blast_results import a_result, results
from rigs.pages import HOSTILE, said, tree
from rigs.sweeps import failing, queue, swept

from echobench.bench.blast.command import blast
from echobench.bench.blast.page import blast_page
from echobench.bench.load import runner
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import Moment, Verdict
from echobench.bench.run.verdicts import judge
from echobench.bench.sweep.answer import sentence
from echobench.bench.sweep.page import sweep_page
from echobench.bench.words import duration, quantity


def judged(result):
    return attrs.evolve(result, verdicts=judge(result))


def moments(*rates):
    return tuple(
        Moment(t=float(t), measured=1.0 if t else 0.0, rate=rate, p50=1e5 * (t + 1), p99=1e6 * (t + 1), lost=t)
        for t, rate in enumerate(rates)
    )


@given(results())
def test_any_result_makes_a_page(result):
    tree(blast_page(result))


OPEN = {"model": "open", "rate": 10_500.0}


def test_the_figures_are_those_of_the_result():
    result = judged(a_result({"answered": 99_000, "unanswered": 1000}, OPEN, moments=moments(0, 9000, 11_000, 9876)))
    page = blast_page(result)
    text = said(tree(page))
    tally = result.tally
    for figure in (
        *(duration(value) for value in tally.from_intended.percentiles().values()),
        *(duration(value) for value in tally.from_send.percentiles().values()),
        quantity(tally.answered / 10),
        quantity(tally.intended),
        "1.000%",
        "9,876",
        result.started,
        *(verdict.sentence for verdict in result.verdicts),
    ):
        assert figure in text, figure
    assert "sent, but not answered" in text
    titles = re.findall("<title id=[^>]*>(.*?)</title>", page)
    assert set(titles) == {"Round-trip time by percentile", "Rate over time", "Round-trip time over time"}
    assert "p99.999" not in said(tree(page)).replace("p99.999 and beyond", "")


def test_a_closed_loop_has_one_curve_and_no_rate_that_was_asked_for():
    page = blast_page(judged(a_result(moments=moments(0, 9000, 11_000))))
    assert "from intended" not in page
    assert "asked for" not in page


def test_a_run_without_answers():
    page = blast_page(judged(a_result({"answered": 0, "unanswered": 100_000})))
    assert "nothing answered" in said(tree(page))
    tree(blast_page(judged(a_result({"answered": 0, "sent": 0, "intended": 0}))))


def test_hostile_text_is_text():
    result = a_result(
        plan={"host": HOSTILE},
        environment={"command": ["echobench", HOSTILE], HOSTILE: HOSTILE, "mitigations": {HOSTILE: None}},
        verdicts=(Verdict(name=HOSTILE, level="note", sentence=HOSTILE),),
        started=HOSTILE,
    )
    page = blast_page(result)
    tree(page)
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "alert(&#x27;x&#x27;)" in page
    run = queue(50_000)
    done = swept(
        lambda plan: attrs.evolve(run(plan), environment=result.environment, verdicts=result.verdicts),
        plan=Plan(host=HOSTILE, model="open", rate=2000.0, transport="udp"),
    )
    done = attrs.evolve(done, why=HOSTILE, ended="failed")
    tree(sweep_page(done))
    assert "<script" not in sweep_page(done)


@pytest.mark.parametrize(
    "run", [queue(50_000), queue(50_000, noise=0.3), queue(1e9, generator=100_000), queue(100), queue(30_000, 28_000)]
)
def test_the_page_of_a_sweep(run):
    done = swept(run)
    page = sweep_page(done)
    text = said(tree(page))
    assert sentence(done) in text
    for point in done.curve():
        assert quantity(point.rate) in text
        assert quantity(point.answered) in text
    for limit in done.limits:
        drawn = any(point.value(limit) is not None for point in done.curve())
        assert f"limit {limit}".replace("<", "&lt;") in page or limit.kind == "loss" or not drawn
    assert "echobench sweep --from sweep.json" in page
    lines = page.count('class="limit"')
    assert lines >= 2, "for wide and for narrow pages"


def test_the_page_of_a_sweep_that_was_ended_at_once():
    done = attrs.evolve(swept(queue(50_000)), steps=(), held=None, broke=None, ended="interrupted")
    tree(sweep_page(done))
    done = swept(failing(queue(50_000), 1), limit="mean<1ms,max<1s,loss<=0")
    assert "mean against asked for" in sweep_page(done)
    tree(sweep_page(done))


def test_blast_writes_a_page(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "run", lambda plan, progress=None: a_result(moments=moments(1, 2, 3)))
    done = CliRunner().invoke(blast, ["h", "--html", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    tree((tmp_path / "r.html").read_text())
    done = CliRunner().invoke(blast, ["h", "--html", "/nowhere/r.html"])
    assert done.exit_code == 2
    assert "--html: /nowhere/r.html cannot be written" in done.stderr

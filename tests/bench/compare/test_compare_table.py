"""The table of a comparison: what fits 80 columns, all figures, the sentence, Markdown and CSV."""

from __future__ import annotations

import csv
import io

import attrs
import pytest
from click.testing import CliRunner
from rich.console import Console
from rigs.compare_results import a_comparison, a_run, synthetic

from echobench.bench.compare import command as module
from echobench.bench.compare.analysis.comparison import IDEAL
from echobench.bench.compare.analysis.judge import Row, judge
from echobench.bench.compare.columns import NARROW, RATIOS, TIMES, WIDE, WORK
from echobench.bench.compare.command import compare
from echobench.bench.compare.formats import compare_csv, compare_markdown
from echobench.bench.compare.rows import ratio
from echobench.bench.compare.sentences import claim
from echobench.bench.compare.terminal import show


def a_row(subject="c-epoll", value=1.05, low=1.03, high=1.068, **changes):
    return Row(
        **{"subject": subject, "load": "small", "verdict": "server-bound", "why": "", "basis": "cpu", "ratio": value,
           "low": low, "high": high, "headline": True, **changes}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (a_row(), "1.05 ± 0.02"),
        (a_row(value=0.5, low=0.42, high=0.6), "0.50 ± 0.10"),
        (a_row(value=0.893, low=0.888, high=0.899), "0.893 ± 0.006"),
        (a_row(value=0.893, low=0.8929, high=0.8931), "0.893 ± 0.001"),
        (a_row(low=None, high=None), "1.05"),
        (a_row(value=1.0, low=1.0, high=1.0), "1.00"),
        (a_row(basis="rate"), "1.05 ± 0.02 by rate"),
        (a_row(value=None, low=None, high=None, basis=None), "-"),
    ],
)
def test_a_ratio_and_the_longer_half_of_its_interval(row, said):
    assert ratio(row) == said


def test_the_sentence():
    assert claim(a_row(IDEAL, 1.0, 1.0, 1.0)) is None
    assert claim(a_row("go", 0.8, 0.79, 0.81)) == "go does 0.80 ± 0.01 times the work of ideal per CPU second"
    assert claim(a_row("far", 0.7, 0.6, 0.8, basis="rate")) == "far has 0.70 ± 0.10 times the message rate of ideal"
    assert claim(a_row("gone", None, None, None, basis=None)) is None


def printed(comparison, width, **options):
    out = io.StringIO()
    show(comparison, Console(file=out, width=width, highlight=False), **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def twelve():
    names = ("a-server-with-a-long-name-indeed", *(f"server-{n}" for n in range(10)))
    runs = [
        a_run(name, number, 123_456 * (1 + place) * (1 + number / 300))
        for number in (1, 2, 3)
        for place, name in enumerate((IDEAL, *names))
    ]
    return a_comparison(runs, names)


def test_twelve_servers_fit_80_columns(twelve):
    lines = printed(twelve, 80).splitlines()
    (head,) = (line for line in lines if line.startswith("subject"))
    assert head.split("  ")[0] == "subject"
    assert all(each.name in head for each in NARROW)
    begin = lines.index(head)
    assert all(len(line) <= 80 for line in lines[begin : begin + 13])
    for row in judge(twelve):
        (line,) = (
            line for line in lines if line.startswith(row.subject[:18]) and row.verdict in line and "/" not in line
        )
        assert ratio(row) in line
        assert f"{round(row.rate):,}" in line


def test_the_longest_cells_are_not_cut():
    """A verdict or a time that a reader cannot read whole misleads."""
    row = a_row("server", 123.45, 100.0, 150.0, rate=12_345_678.0, p99=float("inf"), slowest=2.54e9)
    from echobench.bench.compare.terminal import table

    for verdict in ("generator-bound", "not conformant"):
        out = io.StringIO()
        Console(file=out, width=80).print(table([attrs.evolve(row, verdict=verdict)], NARROW))
        for cell in ("123.45 ± 26.55", "> 2.54 s (lost)", verdict, "server"):
            assert cell in out.getvalue(), cell


def test_wide_has_everything(twelve):
    said = printed(twelve, 154, wide=True)
    (head,) = (line for line in said.splitlines() if line.startswith("subject"))
    for column in (*RATIOS, *WORK, *TIMES):
        assert column.name in head
        assert column in WIDE
    assert "p50" not in printed(twelve, 154)


def test_names_stay_whole_beside_the_widest_cells():
    from echobench.bench.compare.terminal import WIDTH, table

    row = a_row("server-of-mine", 1.178, 0.886, 1.565, rate=12_345_678.0, p99=float("inf"), slowest=2.54e9)
    row = attrs.evolve(row, headline=False, verdict="generator-bound")
    out = io.StringIO()
    Console(file=out, width=WIDTH).print(table([row], WIDE))
    assert "at this load" in out.getvalue()
    assert "server-of-mine" in out.getvalue()


def test_what_needs_a_word_has_one_without_wide():
    noisy = synthetic(1, 0.5, noise=0.3)
    verdicts = {row.subject: row.verdict for row in judge(noisy)}
    assert verdicts["mine"] == "too noisy"
    said = printed(noisy, 200)
    assert "mine: the ratio to the ideal varies by" in said
    assert verdicts["ideal"] == "server-bound"
    assert "ideal: the server's busiest thread" not in said
    assert "ideal: the server's busiest thread" in printed(noisy, 200, wide=True)


def test_markdown_is_a_table_whatever_is_in_the_names():
    odd = "a|b<i>*c*_d_"
    made = a_comparison([a_run(name, n) for n in (1, 2, 3) for name in (IDEAL, odd)], (odd,))
    lines = compare_markdown(made).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert rows[0] == "| subject | times ideal (95 %) | msg/s | p99 | verdict |"
    assert len(rows) == 4
    for line in rows:
        assert len(line.replace("\\|", "").split("|")) == len(NARROW) + 2
    assert any(r"a\|b\<i\>\*c\*\_d\_" in line for line in rows)
    assert any("times the work of ideal" in line for line in lines)


def test_csv_has_the_judged_rows(twelve):
    read = list(csv.DictReader(io.StringIO(compare_csv(twelve))))
    rows = judge(twelve)
    assert [each["subject"] for each in read] == [row.subject for row in rows]
    for each, row in zip(read, rows, strict=True):
        assert float(each["ratio"]) == row.ratio
        assert float(each["p99"]) == row.p99
        assert each["started"] == twelve.started


def test_the_options(monkeypatch, tmp_path, capfd):
    comparison = synthetic(1, 0.8)
    monkeypatch.setattr(module, "compare_all", lambda *_, **__: comparison)
    subject = "mine=serve {port}"

    def said(*options):
        done = CliRunner().invoke(compare, [subject, "-q", *options])
        assert done.exit_code == 0, done.output
        return done

    assert "times ideal (95 %)" in said().stdout
    assert "p99.9" in said("--wide").stdout
    assert said("--markdown").stdout == compare_markdown(comparison)
    said("--csv", str(tmp_path / "c.csv"))
    assert (tmp_path / "c.csv").read_text() == compare_csv(comparison)
    both = said("--markdown", "--csv", "-")
    assert capfd.readouterr().out == compare_csv(comparison), "written to the descriptor itself"
    assert both.stderr == compare_markdown(comparison)

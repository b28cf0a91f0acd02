"""docs/measures/judge.py: what it makes of the driver's rounds and of compare's rows. No rate is asserted."""

from __future__ import annotations

import pytest
from rigs.places import ROOT

MEASURES = ROOT / "docs" / "measures"


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    import judge

    return judge


def a_run(server, echoes=1000.0, cpu=1.0, p50=100.0, steal=0.0):
    return {"server": server, "echoes": echoes, "server_cpu": cpu, "p50_us": p50, "steal": steal}


def a_row(**changes):
    return {
        "subject": "c-epoll", "ratio": 1.1, "low": 1.05, "high": 1.15, "headline": True, "verdict": "server-bound",
        **changes,
    }  # fmt: skip


def rounds_of(*works):
    """Give rounds in which the other server does so many times the work of ours."""
    return [[a_run("ours"), a_run("c-epoll", echoes=1000.0 * each)] for each in works]


@pytest.mark.parametrize(
    ("works", "row", "said"),
    [
        ((1.1, 1.1, 1.1), {}, "inside"),
        ((1.2, 1.2, 1.2), {}, "OUTSIDE"),
        ((1.0, 1.0, 1.0), {}, "OUTSIDE"),
        ((1.2, 1.2, 1.2), {"headline": False}, "refused"),
        ((1.2, 1.2, 1.2), {"verdict": "too noisy"}, "refused"),
        ((1.2, 1.2, 1.2), {"ratio": None, "low": None, "high": None}, "refused"),
        ((), {}, "no figure"),
    ],
)
def test_a_row_agrees_refuses_or_does_not(judge, works, row, said):
    found = judge.judged("small", rounds_of(*works), a_row(**row))
    assert found["said"] == said
    assert found["rounds"] == len(works)


def test_the_load_of_one_message_is_judged_by_its_times(judge):
    runs = [[a_run("ours", p50=100.0), a_run("c-epoll", echoes=5.0, p50=80.0)]]
    assert judge.ratios("one", runs, "c-epoll") == [pytest.approx(1.25)]
    assert judge.ratios("small", runs, "c-epoll") == [pytest.approx(0.005)]


def test_disturbed_and_failed_runs_are_left_out(judge):
    disturbed = [a_run("ours", steal=0.03), a_run("c-epoll")]
    failed = [{**a_run("ours"), "failed": "lost"}, a_run("c-epoll")]
    assert judge.ratios("small", [disturbed, failed, *rounds_of(2.0)], "c-epoll") == [2.0]


def test_the_table_counts_what_is_inside(judge):
    rows = [judge.judged("small", rounds_of(1.1, 1.1, 1.1), a_row()), judge.judged("udp", rounds_of(9.0), a_row())]
    text = judge.table(rows, 0.0123)
    assert "| small | c-epoll | 1.100 (1.100..1.100) | 1.100 (1.050..1.150) | server-bound | inside |" in text
    assert "1 of 2 inside the interval, 0 refused; steal up to 1.2%." in text


def test_commands_name_files_where_compare_finds_them(judge):
    from results_page.subjects import PEERS, Subject

    subject = Subject("x", "X", ("python", "aio.py", "{port}"), "x")
    assert judge.command(subject) == f"x=python {PEERS / 'aio.py'} {{port}}"

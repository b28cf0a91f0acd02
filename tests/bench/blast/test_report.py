"""What is shown of a result, and of a run while it goes on."""

from __future__ import annotations

import io
import re
import time

import attrs
import pytest
from rich.console import Console
from rigs.blast_results import ENVIRONMENT, a_result

from echobench.bench.blast.live import Lines, LiveLine, phase, progress_on, words
from echobench.bench.blast.rows import latency
from echobench.bench.blast.terminal import show
from echobench.bench.load.progress import Silent
from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import Moment
from echobench.bench.run.verdicts import judge
from echobench.bench.words import duration, quantity

MOMENT = Moment(t=3.0, measured=1.0, rate=12345.0, p50=98_000.0, p99=1_230_000.0, lost=0)


def report(*args, width=200, **changes):
    result = a_result(*args, **changes)
    out = io.StringIO()
    show(attrs.evolve(result, verdicts=judge(result)), Console(file=out, width=width, highlight=False))
    return out.getvalue()


def row(text, name):
    """The cells of the line that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(name))
    return re.split(r"\s{2,}", line.strip())[1:]


def test_a_good_run():
    text = report()
    assert "server.example:7007 over TCP (192.0.2.1), messages of 64 bytes" in text
    assert "closed model: 4 connections, each with one message in flight" in text
    assert row(text, "sent") == ["10,000", "100,000"]
    assert row(text, "answered") == ["10,000", "100,000"]
    assert row(text, "MB, each way") == ["0.64", "6.4"]
    assert row(text, "round-trip time") == ["from send"]
    assert row(text, "mean") == ["100 µs"]
    assert row(text, "answers") == ["100,000"]
    assert row(text, "process 0") == ["50%", "60%", "10,000", "columns"]
    assert "messages handled at a time: mean 4, p99 4, max 4" in text
    assert "Nothing lost: every message came back whole, unchanged and in time." in text
    assert "\x1b" not in text, "no colour where there is no terminal"


def test_percentiles_stop_where_the_answers_do():
    text = report()
    assert re.findall(r"^p[\d.]+(?=  )", text, re.MULTILINE) == ["p50", "p90", "p99", "p99.9", "p99.99"]
    assert "p99.999 and beyond would rest on fewer than 10 messages" in text
    few = report({"intended": 50, "sent": 50, "answered": 50, "window": 1.0, **_times(50)})
    assert re.findall(r"^p[\d.]+(?=  )", few, re.MULTILINE) == ["p50"]
    assert "p90 and beyond" in few


def _times(number):
    from echobench.bench.run.histogram import Histogram

    made = Histogram()
    made.record(1000, number)
    return {"from_intended": made, "from_send": made}


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (
            {"model": "open", "rate": 5000.0},
            "open model: 5,000 messages per second, sent at equal intervals over 4 conn",
        ),
        ({"model": "open", "rate": 0.5, "arrivals": "poisson"}, "open model: 0.5 messages per second, sent at random"),
        ({"model": "connect"}, "connecting: 4 connections at a time, each opened for one message"),
        (
            {"transport": "udp", "model": "flood"},
            "flood: datagrams from 4 sockets, as fast as they can be sent",
        ),
        ({"window": 8}, "each with 8 messages in flight"),
        ({"flows": 1}, "closed model: 1 connection, each"),
        ({"host": "::1"}, "[::1]:7007 over TCP"),
        ({"size": "64-1400", "transport": "udp"}, "over UDP (192.0.2.1), messages of 64-1400 bytes"),
    ],
)
def test_the_model_is_said(plan, sentence):
    assert sentence in " ".join(report(plan=plan, width=300).split())


def test_both_times_in_the_open_model():
    text = report(plan={"model": "open", "rate": 10_000.0})
    assert row(text, "round-trip time") == ["from intended", "from send"]
    assert row(text, "min") == ["120 µs", "100 µs"]
    assert row(text, "mean") == ["120 µs", "100 µs"]
    assert row(text, "p99.9") == ["120 µs", "100 µs"]
    assert row(text, "max") == ["1.20 ms", "1.00 ms"]
    assert row(text, "answers") == ["100,000", "100,000"]


def test_lateness_is_said_in_the_open_model():
    open_ = {"model": "open", "rate": 10_000.0}
    assert "Sent later than intended: mean 20.0 µs, p99 20.0 µs, max 20.0 µs." in report(plan=open_, width=300)
    assert "later than intended" not in report()
    assert row(report(plan=open_), "asked for") == ["10,000", "100,000"]


def test_loss_by_place():
    names = ("not_sent", "send_buffer_full", "refused", "unanswered", "late", "truncated", "corrupted")
    tally = {name: number for number, name in enumerate(names, 1)}
    tally |= {"duplicates": 11, "reordered": 12, "unexpected": 13, "our_receive_buffer": 14}
    counters = {"UdpRcvbufErrors": 20, "UdpNoPorts": 15}
    text = report({**tally, "answered": 99_000}, {"transport": "udp"}, counters=counters)
    assert row(text, "never sent") == ["1", "0.001%"]
    assert row(text, "no room in the generator's send buffer") == ["2", "0.002%"]
    assert row(text, "refused by") == ["3", "0.003%"]
    assert row(text, "sent, but not answered") == ["4", "0.004%"]
    assert row(text, "answered after") == ["5", "0.005%"]
    assert row(text, "came back shorter") == ["6", "0.006%"]
    assert row(text, "came back with wrong") == ["7", "0.007%"]
    assert row(text, "came back more") == ["11"]
    assert row(text, "came back after a later") == ["12"]
    assert row(text, "answers that match no message") == ["13"]
    assert row(text, "of these, no room in the generator's receive") == ["14"]
    assert row(text, "no room in other receive buffers of this host") == ["6"]
    assert row(text, "arrived on this host") == ["15"]
    assert "Nothing lost" not in text


def test_lines_of_zero_are_left_out():
    text = report({"unanswered": 5, "answered": 99_995})
    assert "sent, but not answered" in text
    assert "never sent" not in text
    assert "shorter" not in text
    assert row(report({"duplicates": 2}), "nothing") == ["0"]


def test_a_flood():
    text = report({"answered": 0, "one_way": 100_000}, {"transport": "udp", "model": "flood"})
    assert "a flood does not know what arrived" in text
    assert "round-trip" not in text
    assert not [line for line in text.splitlines() if line.startswith("answered")]


def test_nothing():
    text = report({"intended": 0, "sent": 0, "answered": 0, "answered_bytes": 0, "window": 0.1})
    assert "Nothing was sent in the measured time." in text
    assert "nan" not in text


def test_verdicts_are_sentences():
    text = report({"unexpected": 1}, environment={**ENVIRONMENT, "loopback": True}, width=300)
    lines = text.splitlines()
    assert "wrong bytes: What came back was not what was sent: 1 unexpected." in lines
    assert lines[-1].startswith("loopback: Client and server ran on one machine")


def test_the_processors():
    processes = tuple(attrs.evolve(a_result().processes[0], index=n, cpu=n + 2) for n in range(2))
    text = report(processes=processes)
    assert row(text, "process 1 on CPU 3")


@pytest.mark.parametrize("width", [32, 40, 60])
def test_a_narrow_terminal(width):
    text = report({"unanswered": 5, "answered": 99_995}, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "10,000" in text


def test_colour_on_a_terminal():
    result = a_result({"unexpected": 1})
    out = io.StringIO()
    show(attrs.evolve(result, verdicts=judge(result)), Console(file=out, force_terminal=True, color_system="standard"))
    assert "\x1b[1;31mwrong bytes: " in out.getvalue()


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (None, "-"), (float("nan"), "-"), (0, "0 ns"), (999, "999 ns"), (999.6, "1.00 µs"), (1234, "1.23 µs"),
        (9_996, "10.0 µs"), (99_960, "100 µs"), (999_600, "1.00 ms"), (12_345_678, "12.3 ms"), (2.5e9, "2.50 s"),
        (73 * 60e9, "4,380 s"),
    ],
)  # fmt: skip
def test_times_in_words(nanoseconds, text):
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (3, "3"), (3.25, "3.2"), (123.4, "123"), (9_999_499, "9,999,499"), (12_345_678, "12.3 M")],
)  # fmt: skip
def test_numbers_in_words(number, text):
    assert quantity(number) == text


def test_which_progress():
    plain, terminal = Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True, width=80)
    assert isinstance(progress_on(True, terminal), Silent)
    assert isinstance(progress_on(False, plain), Lines)
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(progress_on(False, dumb), Lines)
    assert isinstance(progress_on(False, terminal), LiveLine)


def test_moments_in_words():
    plan = Plan(host="h")
    assert words(plan, MOMENT) == "12,345 msg/s answered  p50 98.0 µs  p99 1.23 ms"
    assert words(plan, attrs.evolve(MOMENT, lost=7)).endswith("  lost 7")
    assert words(plan, attrs.evolve(MOMENT, p50=None, p99=None)) == "12,345 msg/s answered"
    assert words(Plan(host="h", transport="udp", model="flood"), MOMENT).startswith("12,345 msg/s sent")
    assert words(plan, attrs.evolve(MOMENT, t=1.0, measured=0.0)) == "warm-up"
    assert words(plan, attrs.evolve(MOMENT, t=12.0, measured=0.0, lost=3)) == "cool-down  lost 3"
    assert phase(Plan(host="h", count=5), attrs.evolve(MOMENT, t=1.0, measured=0.0)) == "cool-down"


def test_plain_lines():
    out = io.StringIO()
    lines = Lines(Console(file=out, width=20))
    lines.note("engine columns: the fastest that works here")
    lines.began(Plan(host="h"), 0)
    lines.moment(MOMENT)
    lines.over()
    assert out.getvalue().splitlines() == [
        "engine columns: the fastest that works here",
        "   3.0 s  12,345 msg/s answered  p50 98.0 µs  p99 1.23 ms",
    ]


def test_the_live_line():
    out = io.StringIO()
    live = LiveLine(Console(file=out, force_terminal=True, width=100, _environ={"TERM": "xterm"}))
    live.note("engine columns: why")
    live.began(Plan(host="h", duration=100.0), time.perf_counter_ns())
    live.moment(MOMENT)
    live.over()
    live.over()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "engine columns: why" in text
    assert re.search(r"10[12] s left", text)
    assert "12,345 msg/s answered  p50 98.0 µs  p99 1.23 ms" in text
    assert out.getvalue().endswith("\x1b[2K"), "nothing is left of it"


def test_percentiles_rank_what_was_lost():
    """An overload of which half was never sent has no median, whatever the others took."""
    due, departed = Histogram(), Histogram()
    due.record([120_000] * 39_999 + [1_200_000])
    departed.record(100_000, 40_000)
    half = {"sent": 40_000, "answered": 40_000, "not_sent": 60_000, "from_intended": due, "from_send": departed}
    rows = {name: rest for name, *rest in latency(a_result(half, {"model": "open", "rate": 10_000.0})).rows}
    assert rows["p50"] == ["> 1.20 ms (lost)", "100 µs"], "what was never sent has no time from there"
    assert rows["max"][0] == "> 1.20 ms (lost)"
    assert rows["lost: beyond every time"] == ["60,000", "0"]
    assert "mean of answers" in rows
    rows = {name: rest for name, *rest in latency(a_result()).rows}
    assert not [each for row in rows.values() for each in row if "lost" in each]


def test_percentiles_of_a_closed_loop_rank_its_losses():
    rows = {name: rest for name, *rest in latency(a_result({"answered": 99_000, "unanswered": 1000})).rows}
    assert rows["p99.9"] == ["> 1.00 ms (lost)"]
    assert rows["p50"] == ["100 µs"]

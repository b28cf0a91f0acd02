"""Which ratios may stand as a headline, and be ranked: none that only the load explains."""

from __future__ import annotations

import io
import math

import attrs
import pytest
from rich.console import Console
from rigs.compare_results import a_comparison, a_run, usage
from rigs.pages import said, tree

from echobench.bench.compare import profiles
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.analysis.words import ASLEEP_HERE, AT_THIS_LOAD
from echobench.bench.compare.page import bars_of, compare_page
from echobench.bench.compare.picture import compare_picture
from echobench.bench.compare.rows import best_first, percent
from echobench.bench.compare.terminal import show
from echobench.bench.run.histogram import Histogram

BOUND = ("generator-bound",)


def rounds(count=5, **each):
    """Runs of several subjects: each is given by its rate, its part of a CPU, and its verdicts or other changes."""
    return [
        a_run(subject, number, rate, cpu, place=place, **changes)
        for number in range(1, count + 1)
        for place, (subject, (rate, cpu, changes)) in enumerate(each.items(), 1)
    ]


def compared(**each):
    return a_comparison(rounds(**each), names=[name for name in each if name != "ideal"])


def under(load, comparison, **plan):
    """Give a comparison another of the named loads."""
    (found,) = profiles.parse(load)
    found = attrs.evolve(found, plan=attrs.evolve(found.plan, **plan))
    runs = tuple(
        attrs.evolve(run, load=load, result=attrs.evolve(run.result, plan=found.plan)) for run in comparison.runs
    )
    return attrs.evolve(comparison, loads=(found,), runs=runs)


def rows(comparison):
    return {row.subject: row for row in judge(comparison)}


def printed(comparison):
    out = io.StringIO()
    show(comparison, Console(file=out, width=400, highlight=False))
    return out.getvalue()


def times(nanoseconds):
    """A histogram of a run whose messages all took so long."""
    histogram = Histogram()
    histogram.record(nanoseconds, 100_000)
    return {"times": histogram}


# At saturation the one in C does 1.13 times the work. The load keeps neither of them busy, and then it is 2.43 times.
AT_SATURATION = compared(ideal=(100_000, 0.96, {}), c=(113_000, 0.96, {}))
AT_THAT_LOAD = compared(ideal=(80_000, 0.85, {"named": BOUND}), c=(80_000, 0.35, {"named": BOUND}))


def test_what_only_the_load_explains_is_no_headline():
    """It was given as 243 % of the ideal."""
    true = rows(AT_SATURATION)["c"]
    assert (true.headline, true.caveat, true.ratio) == (True, None, pytest.approx(1.13))
    row = rows(AT_THAT_LOAD)["c"]
    assert (row.verdict, row.basis, row.ratio) == ("generator-bound", "cpu", pytest.approx(2.43, abs=0.005))
    assert not row.headline
    used = "c used 35% of its CPU and ideal used 85% of its CPU"
    assert row.caveat == f"{AT_THIS_LOAD}: the generator was the limit, and {used}"
    assert row.ratio_rate is None, "the rate is the generator's"
    assert not rows(AT_THAT_LOAD)["ideal"].headline, "it is not at saturation either"


def test_it_is_ranked_by_nothing():
    three = compared(
        ideal=(100_000, 0.96, {}),
        slow=(40_000, 0.97, {}),
        c=(180_000, 0.5, {"named": BOUND}),
        go=(180_000, 0.6, {"named": BOUND}),
        fast=(120_000, 0.95, {}),
        rust=(180_000, 0.4, {"named": BOUND}),
    )
    assert [row.subject for row in best_first(judge(three))] == ["fast", "ideal", "slow", "c", "go", "rust"]
    assert [row.subject for row in best_first(judge(AT_THAT_LOAD))] == ["ideal", "c"], "the order in which they came"


def test_table_page_and_picture_say_so():
    table, page = printed(AT_THAT_LOAD), compare_page(AT_THAT_LOAD, judge(AT_THAT_LOAD))
    assert f"c: {AT_THIS_LOAD}: the generator was the limit" in table
    assert "2.43 at this load" in table
    text = said(tree(page))
    assert f"c: generator-bound: {rows(AT_THAT_LOAD)['c'].why}; {AT_THIS_LOAD}" in text
    assert f"thin lines are 95 % intervals; hollow: {AT_THIS_LOAD}, and not ranked" in page
    assert page.count('class="bar hollow"') == 2, "for wide and for narrow pages"
    assert page.count('class="bar-plain hollow"') == 2
    bars = bars_of(AT_THAT_LOAD, judge(AT_THAT_LOAD))
    assert [(bar.hollow, "at this load" in bar.said) for bar in bars] == [(True, True), (True, True)]
    drawn = compare_picture(AT_THAT_LOAD, judge(AT_THAT_LOAD))
    assert f"hollow: {AT_THIS_LOAD}" in drawn
    assert drawn.count('hollow"') == 2, "no fill"
    solid = compare_picture(AT_SATURATION, judge(AT_SATURATION))
    assert AT_THIS_LOAD not in solid
    assert 'hollow"' not in solid
    firm = compare_page(AT_SATURATION, judge(AT_SATURATION))
    assert AT_THIS_LOAD not in firm
    assert 'hollow"' not in firm
    assert AT_THIS_LOAD not in printed(AT_SATURATION)


@pytest.mark.parametrize(
    ("ideal", "mine", "headline"),
    [
        ((0.95, ()), (0.95, ()), True),
        ((0.95, BOUND), (0.95, ()), False),  # the ideal fills its CPU with less than it could do
        ((0.95, BOUND), (0.95, BOUND), False),
        ((0.95, ()), (0.95, BOUND), False),
        ((0.83, ()), (0.76, ()), True),  # they waited for each other, and were awake for most of the time
        ((0.95, ()), (0.45, BOUND), False),
        ((0.60, BOUND), (0.95, ()), False),
        ((0.83, ()), (0.30, ()), False),  # it slept for most of the time, for whatever reason
    ],
)
def test_both_servers_must_have_had_work(ideal, mine, headline):
    runs = compared(ideal=(10_000, ideal[0], {"named": ideal[1]}), mine=(9_000, mine[0], {"named": mine[1]}))
    row = rows(runs)["mine"]
    assert (row.headline, row.caveat is None, row.ratio is not None) == (headline, headline, True)
    assert (" at this load" in percent(row)) == (not headline)


def test_a_full_cpu_is_no_saturation_while_the_generator_is_full_too():
    """The driver in C gave asyncio 0.65 of the ideal, and this 0.80: by blast, which was full, the ideal took less."""
    row = rows(compared(ideal=(224_000, 0.98, {"named": BOUND}), aio=(180_000, 0.99, {})))["aio"]
    assert (row.verdict, row.headline) == ("server-bound", False)
    used = "aio used 99% of its CPU and ideal used 98% of its CPU"
    assert row.caveat == f"{AT_THIS_LOAD}: with ideal the generator had no time left, and {used}"


def test_a_rate_that_is_the_generators_has_no_ratio():
    """A server that was started elsewhere, whose CPU time is not known."""
    for ideal, mine in ((BOUND, BOUND), ((), BOUND), (BOUND, ())):
        runs = compared(
            ideal=(80_000, 0.5, {"named": ideal}), mine=(80_000, 0.5, {"named": mine, "usage": None}))  # fmt: skip
        row = rows(runs)["mine"]
        assert (row.ratio, row.ratio_rate, row.headline) == (None, None, False)
        assert row.caveat.startswith("it has no ratio: with ")
        assert row.caveat in printed(runs)


SPINNING = {"ideal": (40_000, 0.99, times(20_000)), "mine": (30_000, 0.30, times(26_000))}


def test_one_is_judged_by_its_times():
    """One that waits awake uses four times the CPU time for each echo, and was said to be the worse one."""
    comparison = under("one", compared(**SPINNING))
    row, ideal = rows(comparison)["mine"], rows(comparison)["ideal"]
    assert (row.basis, row.headline, row.caveat) == ("time", True, None)
    assert row.ratio == row.ratio_time == pytest.approx(20 / 26, rel=1e-3)
    assert row.ratio_cpu == pytest.approx((30 / 0.30) / (40 / 0.99)), "what it costs stands beside it"
    assert percent(row) == "76.9 by p50"
    assert ideal.verdict == "waiting", "a full CPU is no limit where a server waits awake"
    assert "99% of a CPU, part of which may be busy-waiting" in ideal.why
    assert [each.subject for each in best_first(judge(comparison))] == ["ideal", "mine"]
    assert "inverse of the median round-trip time" in compare_page(comparison, judge(comparison))


@pytest.mark.parametrize(("part", "headline"), [(0.99, True), (0.55, True), (0.30, False)])
def test_an_ideal_that_slept_between_messages_is_no_yardstick_of_times(part, headline):
    """By the driver in C, C took three times as long as the ideal, and by blast, which asks again later, 0.9 times."""
    each = {"ideal": (8_100, part, times(91_000)), "c": (9_000, 0.24, times(81_500))}
    row = rows(under("one", compared(**each)))["c"]
    assert (row.basis, row.headline) == ("time", headline)
    assert row.caveat == (None if headline else ASLEEP_HERE)
    assert (" at this load" in percent(row)) == (not headline)
    steady = {"ideal": (5_000, 0.10, open_times(60_000)), "c": (5_000, 0.10, open_times(50_000))}
    assert rows(under("steady", compared(**steady)))["c"].headline, "the load does not depend on the generator"


def open_times(nanoseconds):
    """What a run under an open load counts: times from when messages were due, and from when they left."""
    return {**times(nanoseconds), "tally": {"from_intended": times(nanoseconds)["times"]}}


def test_steady_is_judged_by_its_times():
    each = {"ideal": (5_000, 0.95, open_times(60_000)), "mine": (5_000, 0.10, open_times(50_000))}
    row = rows(under("steady", compared(**each)))["mine"]
    assert (row.basis, row.headline, row.ratio) == ("time", True, pytest.approx(1.2, rel=1e-3))
    assert row.ratio_rate is None, "it is what was asked for"
    late = {name: (rate, cpu, {**changes, "named": BOUND}) for name, (rate, cpu, changes) in each.items()}
    row, ideal = (rows(under("steady", compared(**late)))[name] for name in ("mine", "ideal"))
    assert (row.headline, ideal.verdict) == (False, "generator-bound"), "also if a server waits awake"
    assert row.caveat == "with mine and ideal the generator was the limit: the generator adds much to these times"


def test_a_server_that_loses_half_has_no_ratio():
    """The half that came back was quick, and what it cost was little: neither takes the place of its times."""
    lossy = open_times(50_000)
    lossy["times"] = Histogram()
    lossy["times"].record(50_000, 20_000)
    lossy["tally"] |= {"answered": 20_000, "unanswered": 30_000, "from_intended": lossy["times"]}
    row = rows(under("steady", compared(ideal=(5_000, 0.3, open_times(60_000)), mine=(5_000, 0.1, lossy))))["mine"]
    assert row.p50 == math.inf
    assert (row.ratio, row.basis, row.headline) == (None, None, False)


def test_a_server_that_does_not_keep_up_is_the_limit():
    behind = open_times(5_000_000)
    behind["tally"] |= {"answered": 40_000, "unanswered": 10_000}
    found = rows(under("steady", compared(ideal=(5_000, 0.3, open_times(60_000)), mine=(5_000, 0.97, behind))))
    assert (found["mine"].verdict, found["ideal"].verdict) == ("server-bound", "waiting")


def test_noise_is_that_of_the_yardstick():
    """Under a load that measures times, the times must be steady, not the CPU time."""
    runs = rounds(**SPINNING)
    for n, run in enumerate(runs):
        if run.subject == "mine":
            runs[n] = attrs.evolve(run, usage=usage(0.2 + 0.1 * (run.round % 2)))
    assert rows(under("one", a_comparison(runs)))["mine"].verdict == "waiting"
    assert rows(under("small", a_comparison(runs)))["mine"].verdict == "too noisy"

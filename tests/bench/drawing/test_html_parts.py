"""What pages are made of: escaping, scales and their ticks, charts."""

from __future__ import annotations

import itertools
import math
import re
from html import unescape
from xml.etree import ElementTree as ET

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echobench.bench.drawing.bars import Bar, draw_bars
from echobench.bench.drawing.charts import Chart, Series, draw
from echobench.bench.drawing.markup import Html, html, number, tag
from echobench.bench.drawing.page import STYLE
from echobench.bench.drawing.percentiles import STYLES, percentiles
from echobench.bench.drawing.scales import MOST, decades, percentile_scale, scale, steps
from echobench.bench.run.histogram import Histogram

values = st.floats(1e-6, 1e12)


@given(st.text(), st.text())
def test_text_comes_back_as_it_was_and_never_as_markup(content, attribute):
    made = tag("p", content, title=attribute, class_="x")
    read = ET.fromstring(made)
    clean = html(content)
    assert len(read) == 0
    assert (read.text or "").replace("\r", "\n") == unescape(clean).replace("\r\n", "\n").replace("\r", "\n")
    assert set(read.attrib) == {"title", "class"}


def test_markup():
    assert tag("br") == "<br/>"
    assert tag("p", "a<b", [1, 2.5, None, tag("i", "&")], aria_label='"') == (
        '<p aria-label="&quot;">a&lt;b12.5<i>&amp;</i></p>'
    )
    assert isinstance(html("x"), Html)
    assert html("\x00\x1b\ud800") == "\ufffd\ufffd\ufffd"
    assert [number(value) for value in (1, 1.0, 1.234, -0.5, 100.0)] == ["1", "1", "1.23", "-0.5", "100"]


@given(values, values, st.integers(1, 10))
def test_round_numbers_at_equal_distances(a, b, wanted):
    low, high = sorted((a, b))
    assume(high - low > high * 1e-6)
    ticks = steps(low, high, wanted)
    assert ticks[0] <= low * (1 + 1e-6)
    assert ticks[-1] >= high * (1 - 1e-6)
    assert 2 <= len(ticks) <= wanted + 3
    distances = [after - before for before, after in itertools.pairwise(ticks)]
    assert max(distances) == pytest.approx(min(distances))
    digit = float(f"{distances[0]:e}".partition("e")[0])
    assert round(digit, 6) in (1, 2, 5)


@given(values, st.floats(1.0, 1e6))
def test_powers_of_ten_and_what_lies_between(low, ratio):
    ticks = decades(low, low * ratio)
    assert ticks[0] <= low * (1 + 1e-9)
    assert ticks[-1] >= low * ratio * (1 - 1e-9)
    assert 2 <= len(ticks) <= MOST
    assert ticks == sorted(set(ticks))


@given(st.lists(values, min_size=1, max_size=9), st.sampled_from([None, True, False]))
def test_a_scale_is_rising_and_holds_all(several, log):
    made = scale(several, str, log=log)
    places = [made(value) for value in sorted(several)]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert (made(made.ticks[0]), made(made.ticks[-1])) == (0, 1)
    if log is False:
        assert made.ticks[0] == 0, "a bar or a rate that does not begin at 0 lies"
    assert not made.log or made.ticks[0] <= min(several) * (1 + 1e-9)


def test_scales_of_next_to_nothing():
    for several in ([], [0.0], [0.0, 0.0], [math.nan], [math.inf, 1.0]):
        made = scale(several, str)
        assert made.ticks[0] < made.ticks[-1]
        assert 0 <= made(0.5) <= 1


@pytest.mark.parametrize(
    ("beyond", "labels"),
    [(2, ["min", "p50"]), (10, ["min", "p50", "p90"]), (150, ["min", "p50", "p90", "p99", "p99.9"])],
)
def test_the_scale_of_percentiles(beyond, labels):
    made = percentile_scale(beyond)
    assert [made.label(tick) for tick in made.ticks] == labels
    assert made(beyond) <= 1


@given(st.integers(0, 100_000))
def test_a_curve_ends_where_the_answers_do(count):
    histogram = Histogram()
    if count:
        histogram.record(range(1, count + 1))
    curve = percentiles(histogram)
    if count < 20:
        assert curve == []
        return
    assert curve[0] == (1.0, histogram.percentile(0))
    last, value = curve[-1]
    assert last == pytest.approx(count / 10)
    assert value == histogram.percentile(100 * (1 - 10 / count))
    assert [y for _, y in curve] == sorted(y for _, y in curve)


def points(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


@given(st.lists(st.tuples(values, values), min_size=2, max_size=20), st.sampled_from([360, 720]))
def test_a_chart_shows_its_points_in_order_and_inside(pairs, width):
    pairs.sort()
    x, y = scale([x for x, _ in pairs], "{:.3g}".format), scale([y for _, y in pairs], "{:.3g}".format)
    series = Series(
        name="s", points=tuple(pairs), marks=("cross",) * len(pairs), ranges=tuple((y, y) for _, y in pairs)
    )
    chart = Chart(
        title="<t>", description="&d", x=x, y=y, x_title="x", y_title="y", series=(series,),
        limit=(pairs[0][1], "<limit>"), band=(pairs[0][0], pairs[-1][0]),
    )  # fmt: skip
    read = ET.fromstring(draw(chart, width, 300))
    assert [read[0].text, read[1].text] == ["<t>", "&d"]
    assert read.get("aria-labelledby") == f"{read[0].get('id')} {read[1].get('id')}"
    (line,) = (each for each in read.iter("path") if each.get("class") == "line")
    drawn = points(line.get("d"))
    assert len(drawn) == len(pairs)
    assert all(0 <= px <= width and 0 <= py <= 300 for px, py in drawn)
    assert [px for px, _ in drawn] == sorted(px for px, _ in drawn)
    highest, lowest = max(pairs, key=lambda pair: pair[1]), min(pairs, key=lambda pair: pair[1])
    assert drawn[pairs.index(highest)][1] <= drawn[pairs.index(lowest)][1], "up is more"
    assert sum(each.get("class") == "mark-cross" for each in read.iter("path")) == len(pairs)


@given(st.lists(st.floats(0.01, 2), min_size=1, max_size=6))
def test_bars_are_as_long_as_their_values(lengths):
    bars = [Bar(name="<b>" * 200, value=v, low=v * 0.9, high=v * 1.1, said=f"{v:.0%}") for v in lengths]
    read = ET.fromstring(draw_bars("t", "d", bars, scale([v * 1.1 for v in lengths], str, log=False), 360))
    widths = [float(each.get("width")) for each in read.iter("rect")]
    for width, value in zip(widths, lengths, strict=True):
        assert width / value == pytest.approx(widths[0] / lengths[0], rel=0.1, abs=0.5)
        assert 0 <= width <= 360


def test_an_interval_that_is_none_is_not_drawn():
    bars = [Bar(name="a", value=1.0, low=1.0, high=1.0, said=""), Bar(name="b", value=1.0, low=0.9, high=1.1, said="")]
    read = ET.fromstring(draw_bars("t", "d", bars, scale([1.1], str, log=False), 360))
    assert [each.get("class") for each in read.iter("path")] == ["halo", "interval"]


def test_every_style_of_a_line_differs_from_the_others():
    style = STYLE.read_text()
    found = []
    for name in STYLES:
        rules = [(each, body) for each, body in re.findall(r"([^{}]*?)\{([^{}]*)\}", style)]
        picked = {
            body for each, body in rules for one in each.split(",") if one.strip() in (f".{name}", f".{name} .line")
        }
        assert any("color: var" in body for body in picked), name
        found.append(frozenset(picked))
    assert len(set(found)) == len(STYLES) == 12


def contrast(first, second):
    """WCAG 2.1, 1.4.3."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_colours_are_defined_for_light_dark_and_print_and_can_be_read():
    style = STYLE.read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 3
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", style))
    for block in blocks:
        colours = dict(re.findall(r"(--[a-z0-9]+): (#[0-9a-f]+)", block))
        assert used - {"--focus"} <= set(colours)
        for name in used - {"--band", "--rule", "--page", "--panel", "--focus"}:
            for ground in ("--page", "--panel"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)

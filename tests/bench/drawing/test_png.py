"""Pictures: the pages' own charts on a sheet, everybody is named, and text is really drawn, where there is room."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from rigs.blast_results import a_result
from rigs.compare_results import a_comparison, a_run, synthetic
from rigs.helpers import LIMIT
from rigs.pixels import pixels, size
from rigs.sweeps import queue, swept

from echobench.bench.blast.command import blast
from echobench.bench.blast.page import blast_page
from echobench.bench.blast.picture import blast_picture, blast_png
from echobench.bench.compare import command as compare_module
from echobench.bench.compare.analysis.comparison import IDEAL, Load
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.command import compare
from echobench.bench.compare.page import bars_scale, compare_page
from echobench.bench.compare.picture import compare_picture, compare_png
from echobench.bench.compare.rows import mark
from echobench.bench.drawing import letters
from echobench.bench.drawing.bars import Bar, draw_bars
from echobench.bench.drawing.markup import tag
from echobench.bench.drawing.page import STYLE
from echobench.bench.drawing.png.render import ZOOM, light_style, png
from echobench.bench.drawing.png.sheet import WIDTH
from echobench.bench.load import runner
from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan
from echobench.bench.sweep.command import command as sweep
from echobench.bench.sweep.page import sweep_page
from echobench.bench.sweep.picture import sweep_picture, sweep_png

ODD = "_$x^2$ \u4e16\U0001f9ff\x1b[31m\udcff<b>" + "long" * 60
SVG = "{http://www.w3.org/2000/svg}"


@attrs.frozen
class Shape:
    """An element with its place on the sheet."""

    tag: str
    x: float
    y: float
    scale: float
    attributes: dict
    text: str
    style: str

    @property
    def box(self):
        """Where text is, by what the sheet itself believes of its width."""
        size = float(self.attributes.get("font-size", 13)) * self.scale
        bold = self.attributes.get("font-weight") or self.attributes.get("class") in ("said", "upright-text")
        wide = letters.width(self.text, size, bold=bool(bold))
        left = self.x - {"end": wide, "middle": wide / 2}.get(self.attributes.get("text-anchor"), 0.0)
        return left, self.y - 0.75 * size, left + wide, self.y + 0.2 * size


def shapes(picture):
    def walk(element, x, y, scale, style):
        if found := re.match(r"translate\(([-\d.]+) ([-\d.]+)\) scale\(([\d.]+)\)", element.get("transform", "")):
            right, down, more = map(float, found.groups())
            x, y, scale = x + scale * right, y + scale * down, scale * more
        style = element.get("class") if re.fullmatch(r"s\d+", element.get("class", "")) else style
        at = (x + scale * float(element.get("x", 0)), y + scale * float(element.get("y", 0)))
        yield Shape(element.tag.removeprefix(SVG), *at, scale, element.attrib, element.text or "", style)
        for each in element:
            yield from walk(each, x, y, scale, style)

    return [each for each in walk(ET.fromstring(picture), 0.0, 0.0, 1.0, "") if each.tag not in ("title", "desc")]


def texts(picture):
    return [each.text for each in shapes(picture) if each.tag == "text"]


def of_class(picture, *names):
    return [each for each in shapes(picture) if each.attributes.get("class") in names]


@pytest.fixture(scope="module")
def compared():
    """Two loads: a good subject, one that varies, one that ended; and one that ended under the second load only."""
    good = synthetic(1, 0.8, rounds=6)
    rates = {IDEAL: 1.0, "mine": 0.8, "sometimes": 0.5}
    runs = []
    for load in ("small", "other"):
        for number in range(1, 7):
            for name, rate in rates.items():
                runs.append(attrs.evolve(a_run(name, number, 10_000 * rate * (1 + number / 500)), load=load))
            runs.append(attrs.evolve(a_run("noisy", number, 10_000 if number % 2 else 2000), load=load))
            runs.append(attrs.evolve(a_run("gone", number), load=load, result=None, failure="it ended"))
    ended = {"result": None, "failure": "it ended"}
    runs = [attrs.evolve(run, **ended) if (run.subject, run.load) == ("sometimes", "other") else run for run in runs]
    loads = (*good.loads, Load(name="other", plan=Plan(host="127.0.0.1", flows=4)))
    return a_comparison(runs, ("mine", "sometimes", "noisy", "gone"), loads=loads)


def drawn(markup):
    """What charts show, whatever their size: the words in them, and how many of each shape."""
    inner = re.findall(r"<svg(?=[^>]*role=).*?</svg>", markup)
    found = []
    for each in inner:
        read = ET.fromstring(each)
        words = sorted("".join(t.itertext()) for t in read.iter("text") if t.get("class"))
        kinds = sorted(e.get("class") for e in read.iter() if e.get("class") and e.tag != "text")
        found.append((words, kinds))
    return found


def test_the_picture_shows_what_the_page_shows(compared):
    on_page = drawn(compare_page(compared, judge(compared)))
    on_picture = drawn(compare_picture(compared, judge(compared)))
    assert len(on_picture) == 4, "bars and curves of both loads"
    for each in on_picture:
        assert each in on_page
    result = a_result(plan={"model": "open", "rate": 1000.0})
    (curves,) = drawn(blast_picture(result))
    assert curves in drawn(blast_page(result))
    done = swept(queue(45_000))
    answered, _ = drawn(sweep_picture(done))
    assert answered in drawn(sweep_page(done))


def test_bars_are_the_judged_ratios(compared):
    rows = judge(compared)
    picture = compare_picture(compared, rows)
    bars = of_class(picture, "bar", "bar-plain")
    mine = [row for load in ("small", "other") for row in rows if row.load == load and row.ratio]
    assert len(mine) == 4 + 3
    long = [float(each.attributes["width"]) * each.scale for each in bars]
    for load in ("small", "other"):
        wanted = sorted((row.ratio for row in mine if row.load == load), reverse=True)
        got, long = long[: len(wanted)], long[len(wanted) :]
        assert [each / got[0] for each in got] == pytest.approx([each / wanted[0] for each in wanted], rel=2e-3)
    said = texts(picture)
    for row in mine:
        noisy = ", too noisy" if row.verdict == "too noisy" else ""
        assert f"{100 * row.ratio:.1f} %{mark(row)}{noisy}" in said
        assert row.high == row.low or f"{100 * row.low:.1f} to {100 * row.high:.1f}" in said
    assert len(of_class(picture, "interval")) == sum(row.high > row.low for row in mine)


def test_subjects_without_a_ratio_show_their_verdict(compared):
    said = texts(compare_picture(compared, judge(compared)))
    assert said.count("void") == 3
    for number, each in enumerate(said):
        if each == "void":
            assert said[number - 1] in ("gone", "sometimes")


def test_curves_and_their_names(compared):
    picture = compare_picture(compared, judge(compared))
    keys, lines = [], []
    for each in of_class(picture, "line"):
        (keys if each.attributes["d"] == "M0 0H24" else lines).append(each.style)
    assert keys == ["s1", "s2", "s3", "s4"], "a subject that was never measured has no line"
    assert lines == [*keys, "s1", "s2", "s4"], "by subject"
    said = texts(picture)
    at = said.index(IDEAL, len(said) - 6)
    assert said[at : at + 4] == [IDEAL, "mine", "sometimes", "noisy"]


def test_what_was_compared_and_where(compared):
    picture = compare_picture(attrs.evolve(compared, cut_short=True), judge(compared))
    said = " ".join(texts(picture))
    for words in ("Echo servers compared: ideal, mine", "small: TCP", "6 rounds", "a CPU  ·  2 CPUs  ·  Linux 6.1",
                  "2026-03-01T12:00:00", "It was ended early"):  # fmt: skip
        assert words in said, words


def test_the_file_is_as_wide_as_a_slide_and_higher_for_many(compared):
    assert size(compare_png(compared)) == (1920, 1080)
    names = tuple(f"server {n}" for n in range(11))
    runs = [a_run(name, number) for number in (1, 2, 3) for name in (IDEAL, *names)]
    assert size(compare_png(a_comparison(runs, names))) == (1920, 1080), "twelve subjects fit"
    loads = (*a_comparison(runs).loads, Load(name="other", plan=Plan(host="127.0.0.1")))
    runs += [attrs.evolve(run, load="other") for run in runs]
    across, down = size(compare_png(a_comparison(runs, names, loads=loads)))
    assert (across, down > 1080) == (1920, True)


def overlaps(picture):
    """Pairs of texts that are drawn over each other, and texts beyond the picture's edge."""
    down = float(ET.fromstring(picture).get("height"))
    boxes = [(each.text, each.box) for each in shapes(picture) if each.tag == "text" and each.text.strip()]
    for n, (text, (left, top, right, bottom)) in enumerate(boxes):
        if left < 0 or top < 0 or right > WIDTH or bottom > down:
            yield text, "the edge"
        for other, (x0, y0, x1, y1) in boxes[n + 1 :]:
            if min(right, x1) - max(left, x0) > 1 and min(bottom, y1) - max(top, y0) > 1:
                yield text, other


def test_nothing_overlaps_with_many_and_long_names():
    names = (
        *(f"SERVER NUMBER {n} with a name that is much too long to be shown {'whole ' * 20}" for n in range(9)),
        ODD,
    )
    times = Histogram()
    times.record([20_000, 100_000, 900_000_000], 30_000_000)
    runs = [
        a_run(name, number, 10_000 * (1 + place), times=times)
        for number in (1, 2, 3)
        for place, name in enumerate((IDEAL, *names))
    ]
    made = a_comparison([attrs.evolve(run, usage=None) for run in runs], names)
    assert {row.basis for row in judge(made)} == {"rate"}, "which is said, and takes room"
    assert list(overlaps(compare_picture(made, judge(made)))) == []


def test_names_are_names_whatever_is_in_them():
    made = a_comparison([a_run(name, n) for n in (1, 2) for name in (IDEAL, ODD)], (ODD,))
    picture = compare_picture(made, judge(made))
    named = [each for each in texts(picture) if each.startswith("_$x^2$ \u4e16\U0001f9ff\ufffd[31m\ufffd<b>long")]
    assert len(named) == 2, "beside its bar, and in the legend"
    assert all(each.endswith("…") for each in named)
    size(png(picture))


@pytest.mark.parametrize("room", [40.0, 100.0, 300.0, 3000.0])
def test_text_is_cut_to_its_room(room):
    whole = "wide WIDE " * 12
    short = letters.cut(whole, 12, room)
    assert letters.width(short, 12) <= room
    assert short.endswith("…") == (room < 3000)
    assert room == 3000 or letters.width(short.rstrip("…") + "wide W", 12) > room, "it takes the room that there is"
    lines = letters.wrap(whole.strip(), 12, room, 2)
    assert len(lines) == (1 if room == 3000 else 2)
    assert all(letters.width(line, 12) <= room for line in lines)
    assert lines[0] == whole[: len(lines[0])] or lines[0].endswith("…")


def test_the_style_is_the_page_in_light_colours():
    style, light = STYLE.read_text(), light_style()
    assert "var(" not in light
    assert "@media" not in light
    assert light.count("{") == light.count("}") > 20
    first = dict(re.findall(r"(--[a-z0-9]+): (#[0-9a-f]+)", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[0]))
    assert f".bar {{ fill: {first['--s1']}; }}" in light
    assert f"color: {first['--s3']}" in light
    dark = re.findall(r"--s1: (#[0-9a-f]+)", style)[1]
    assert dark not in light


def small(*parts):
    return tag("svg", parts, xmlns="http://www.w3.org/2000/svg", width=400, height=130, font_size=13)


def ink(words, **attributes):
    """How many pixels a text changes, and how far it reaches, in units."""
    empty, written = pixels(png(small())), pixels(png(small(tag("text", words, x=10, y=40, **attributes))))
    changed = np.abs(written - empty).sum(axis=2) > 60
    columns = np.flatnonzero(changed.any(axis=0))
    return int(changed.sum()), (columns[-1] / ZOOM - 10 if len(columns) else 0.0)


@pytest.mark.parametrize("letter", "µ\xd7±≤≥\u2013…·éŽ%")
def test_characters_are_drawn_and_are_not_boxes(letter):
    """Without the font that comes along, a machine without fonts would draw nothing."""
    count, _ = ink(letter * 8, font_size=40)
    missing, _ = ink("\u4e16" * 8, font_size=40)
    assert count > 100
    assert count != missing
    assert ink(letter * 8, font_size=40, font_weight=700)[0] > count, "bold has a font of its own"


@pytest.mark.parametrize("words", ["1234567890", "Echo server, closed model: 50", "WWWMMM mmm", "63.4 % by rate"])
def test_text_is_no_wider_than_was_reckoned(words):
    _, reach = ink(words)
    assert 0.6 * letters.width(words, 13) < reach <= letters.width(words, 13)
    _, reach = ink(words, font_weight=700)
    assert reach <= letters.width(words, 13, bold=True)


def test_bars_and_lines_have_the_colours_of_the_page():
    style = STYLE.read_text()
    bars = [
        Bar(name="ideal", said="", value=1.0, plain=True),
        Bar(name="mine", said="", value=0.8),
        Bar(name="", said="void"),
    ]
    lines = tag("g", tag("path", d="M300 0V50", class_="line"), class_="s4")
    rendered = png(small(lines, draw_bars("", "", bars, bars_scale(bars), 200)))
    seen = {tuple(each) for each in pixels(rendered).reshape(-1, 3)}
    for name in ("s1", "s4", "muted", "ink", "page"):
        colour = re.findall(rf"--{name}: (#[0-9a-f]+)", style)[0]
        assert tuple(int(colour[n : n + 2], 16) for n in (1, 3, 5)) in seen, name


def test_a_sweep():
    done = swept(queue(45_000))
    picture = sweep_picture(done)
    said = texts(picture)
    for words in ("all answered", "answered", "p50", "p99", "limit p99<1ms", "most steps held", "broke"):
        assert words in said, words
    assert said.count(f"held {done.held:,.0f}") == len(of_class(picture, "upright")) == 2
    marks = of_class(picture, "mark-dot", "mark-cross", "mark-triangle")
    assert len(marks) == 3 * len(done.curve()) + 3, "answers, p50 and p99, and the key"
    assert size(sweep_png(done)) == (1920, 1080)
    assert list(overlaps(picture)) == []


@pytest.mark.parametrize("capacity", [100, 2100, 1e8])
def test_sweeps_that_found_little(capacity):
    done = swept(queue(capacity, generator=9000), last=20_000)
    picture = sweep_picture(done)
    assert list(overlaps(picture)) == []
    assert "limit p99<1ms" in texts(picture)
    assert size(sweep_png(done)) == (1920, 1080)
    nothing = attrs.evolve(done, steps=(), held=None, broke=None, ended="interrupted")
    assert "too few answers for percentiles" in texts(sweep_picture(nothing))


@pytest.mark.parametrize("model", ["closed", "open", "flood"])
def test_a_run(model):
    plan = {"model": model, **({"rate": 1000.0} if model == "open" else {}), "transport": "udp"}
    result = a_result(plan=plan, tally={"answered": 0} if model == "flood" else None)
    picture = blast_picture(result)
    lines = [each for each in of_class(picture, "line") if each.attributes["d"] != "M0 0H24"]
    assert len(lines) == {"closed": 1, "open": 2, "flood": 0}[model]
    said = texts(picture)
    assert model == "flood" or any("p99" in each for each in said)
    assert any("server.example:7007" in each for each in said)
    assert list(overlaps(picture)) == []
    assert size(blast_png(result)) == (1920, 1080)


COMMANDS = {"blast": "blast h", "sweep": "sweep h -L p99<1ms", "compare": "compare mine=h:7"}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("missing", ["resvg_py", "font_roboto"])
def test_without_the_extra(monkeypatch, tmp_path, name, missing):
    """A sentence before anything is run."""
    ran = []
    monkeypatch.setattr(runner, "run", lambda *_: ran.append("run"))
    monkeypatch.setattr(compare_module, "compare_all", lambda *_: ran.append("compared"))
    monkeypatch.setitem(sys.modules, missing, None)
    command = {"blast": blast, "sweep": sweep, "compare": compare}[name]
    done = CliRunner().invoke(command, [*COMMANDS[name].split()[1:], "--png", str(tmp_path / "x.png")])
    assert (done.exit_code, ran) == (2, [])
    assert "pip install 'echobench[png]'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_is_imported_for_the_option_only():
    code = "import sys, echobench.cli, echobench.bench.compare.command, echobench.bench.sweep.command\n"
    code += "assert not [name for name in sys.modules if name.startswith(('resvg', 'font_roboto'))]"
    assert subprocess.run([sys.executable, "-c", code], timeout=LIMIT).returncode == 0

"""Pictures: what is drawn is what was judged, everybody is named, and text stays where there is room for it."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import warnings

import attrs
import matplotlib as mpl
import pytest
from click.testing import CliRunner
from matplotlib.text import Text
from rigs.blast_results import a_result
from rigs.compare_results import a_comparison, a_run, synthetic
from rigs.helpers import LIMIT
from rigs.sweeps import queue, swept

from echobench.bench.blast.command import blast
from echobench.bench.blast.picture import blast_figure, blast_png
from echobench.bench.compare import command as compare_module
from echobench.bench.compare.analysis.comparison import IDEAL, Load
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.command import compare
from echobench.bench.compare.picture import compare_figure, compare_png
from echobench.bench.drawing.page import STYLE
from echobench.bench.drawing.png import panels, sheet
from echobench.bench.drawing.png.text import LOST, fitted, width, wrapped, written
from echobench.bench.load import runner
from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan
from echobench.bench.sweep.command import command as sweep
from echobench.bench.sweep.limits import Limit
from echobench.bench.sweep.picture import sweep_figure

ODD = "_$x^2$ \u4e16\U0001f9ff\x1b[31m\udcff" + "long" * 20


def texts(figure):
    return [each.get_text() for each in figure.findobj(Text) if each.get_text()]


def size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


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
    loads = (*good.loads, Load(name="other", plan=Plan(host="127.0.0.1")))
    return a_comparison(runs, ("mine", "sometimes", "noisy", "gone"), loads=loads)


def test_bars_are_the_judged_ratios(compared):
    rows = judge(compared)
    figure = compare_figure(compared, rows)
    bars = figure.axes[::2]
    assert len(bars) == 2
    for axes, load in zip(bars, ("small", "other"), strict=True):
        mine = sorted((row for row in rows if row.load == load and row.ratio), key=lambda row: -row.ratio)
        assert len(mine) == (4 if load == "small" else 3)
        assert [bar.get_width() for bar in axes.patches] == [row.ratio for row in mine]
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names[: len(mine)] == [row.subject for row in mine], "the best is on top"
        assert axes.yaxis_inverted()
        ends = [path.vertices for each in axes.collections for path in each.get_paths()]
        drawn = {(round(low, 9), round(high, 9)) for (low, _), (high, _) in ends}
        assert drawn == {(round(row.low, 9), round(row.high, 9)) for row in mine if row.high > row.low}
        said = [each.get_text() for each in axes.texts]
        for row in mine:
            assert f"{100 * row.ratio:.1f} %" + (", too noisy" if row.subject == "noisy" else "") in said
            assert row.high == row.low or f"{100 * row.low:.1f} to {100 * row.high:.1f}" in said


def test_who_has_no_ratio_is_there_with_a_word(compared):
    first, second = compare_figure(compared, judge(compared)).axes[::2]
    for axes, words in ((first, {"gone": "void"}), (second, {"sometimes": "void"})):
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert set(names) == {IDEAL, "mine", "sometimes", "noisy", "gone"}
        at = {round(each.xy[1]): each.get_text() for each in axes.texts if hasattr(each, "xy") and each.xy[0] == 0}
        for name, word in words.items():
            assert at[names.index(name)] == word


def test_curves_and_their_names(compared):
    figure = compare_figure(compared, judge(compared))
    first, second = figure.axes[1::2]
    assert first.get_yscale() == second.get_yscale() == "log"
    assert (len(first.lines), len(second.lines)) == (4, 3)
    legend = figure.subfigs[2].legends[0]
    named = [text.get_text() for text in legend.get_texts()]
    assert named == [IDEAL, "mine", "sometimes", "noisy"], "who was never measured has no line"
    looks = [(line.get_color(), line.get_linestyle()) for line in legend.get_lines()]
    assert [(line.get_color(), line.get_linestyle()) for line in first.lines] == looks
    assert [line.get_color() for line in second.lines] == [looks[0][0], looks[1][0], looks[3][0]], "by subject"


def test_what_was_compared_and_where(compared):
    figure = compare_figure(attrs.evolve(compared, cut_short=True), judge(compared))
    said = " ".join(texts(figure))
    for words in ("Echo servers compared: ideal, mine", "small: TCP", "6 rounds", "a CPU  ·  2 CPUs  ·  Linux 6.1",
                  "2026-03-01T12:00:00", "It was ended early"):  # fmt: skip
        assert words in said, words


def test_the_file_is_as_wide_as_a_slide_and_higher_for_many(compared):
    assert size(compare_png(synthetic(1, rounds=3))) == (1920, 1080)
    across, down = size(compare_png(compared))
    assert (across, down > 1080) == (1920, True)


def overlaps(figure):
    """Pairs of texts that are drawn over each other, and texts beyond the picture's edge."""
    figure.canvas.draw()
    shown = [each for each in figure.findobj(Text) if each.get_text().strip() and each.get_visible()]
    boxes = [(each.get_text(), each.get_window_extent()) for each in shown]
    whole = figure.bbox
    for n, (text, box) in enumerate(boxes):
        if box.x0 < -1 or box.y0 < -1 or box.x1 > whole.x1 + 1 or box.y1 > whole.y1 + 1:
            yield (text, "the edge")
        for other, against in boxes[n + 1 :]:
            if (
                min(box.x1, against.x1) - max(box.x0, against.x0) > 1
                and min(box.y1, against.y1) - max(box.y0, against.y0) > 1
            ):
                yield (text, other)


def test_nothing_overlaps_with_many_and_long_names():
    names = (*(f"server number {n} with a name that is much too long to be shown whole" for n in range(9)), ODD)
    times = Histogram()
    times.record([20_000, 100_000, 900_000_000], 30_000_000)
    runs = [
        a_run(name, number, 10_000 * (1 + place), times=times)
        for number in (1, 2, 3)
        for place, name in enumerate((IDEAL, *names))
    ]
    made = a_comparison([attrs.evolve(run, usage=None) for run in runs], names)
    assert {row.basis for row in judge(made)} == {"rate"}, "which is said, and takes room"
    assert list(overlaps(compare_figure(made, judge(made)))) == []


def test_names_are_names_whatever_is_in_them():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = a_comparison([a_run(name, n) for n in (1, 2) for name in (IDEAL, ODD)], (ODD,))
        figure = compare_figure(made, judge(made))
        size(sheet.png(figure))
    named = figure.subfigs[2].legends[0].get_texts()[1].get_text()
    assert named.startswith(f"_$x^2$ {LOST}{LOST}{LOST}[31m{LOST}long")
    assert named.endswith("…")
    assert not any(each.get_parse_math() for each in figure.findobj(Text) if "$" in each.get_text())


@pytest.mark.parametrize("room", [0.5, 1.0, 3.0, 30.0])
def test_text_is_cut_to_its_room(room):
    short = fitted("wide WIDE " * 12, 12, room)
    assert width(short, 12) <= room
    assert short.endswith("…") == (room < 30)
    assert width(short.rstrip("…") + "wide W", 12) > room or room == 30, "it takes the room that there is"
    assert written("a\nb") == f"a{LOST}b"
    lines = wrapped("wide WIDE " * 12, 12, room).split("\n")
    assert len(lines) == (1 if room == 30 else 2)
    assert all(width(line, 12) <= room for line in lines)
    assert lines[0].strip() == ("wide WIDE " * 12)[: len(lines[0].strip())]


def test_colours_and_dashes_are_those_of_the_pages():
    style = STYLE.read_text()
    light = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]+)", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[0]))
    named = {"ink": sheet.INK, "muted": sheet.MUTED, "rule": sheet.RULE, "bad": sheet.BAD, "band": sheet.BAND}
    assert {name: light[name] for name in named} == named
    assert tuple(light[f"s{n}"] for n in range(1, 7)) == sheet.COLOURS
    for n in range(1, 13):
        assert re.search(rf"\.s{n}\b[^{{}}]*\{{ color: var\(--s{(n - 1) % 6 + 1}\)", style), n
    groups = re.findall(r"((?:\.s\d+ \.line(?:, )?)+) \{ stroke-dasharray", style)
    pages = {frozenset(re.findall(r"s(\d+)", group)) - {"0"} for group in groups}
    ours = {}
    for n, dashes in enumerate(panels.DASHES, 1):
        ours.setdefault(dashes, set()).add(str(n))
    del ours[panels.SOLID]
    assert {frozenset(each) for each in ours.values()} == pages


def test_a_sweep():
    done = swept(queue(45_000))
    figure = sweep_figure(done)
    answered, times = figure.axes
    points = done.curve()
    asked = [point.rate for point in points]
    named = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert named == [["all answered", "answered"], ["p50", "p99"]]
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for axes in figure.axes for line in axes.lines]
    assert (asked, [point.answered for point in points]) in drawn
    limits = [Limit(kind="percentile", depth=depth, bound=1e9) for depth in (50.0, 99.0)]
    found = [[point.value(limit) for point in points] for limit in limits]
    top = 3 * max(value for values in found for value in values if value != float("inf"))
    for values in found:
        assert (asked, [min(value, top) for value in values]) in drawn
    for axes in (answered, times):
        assert [done.held, done.held] in [list(line.get_xdata()) for line in axes.lines]
        assert f"held {done.held:,.0f}" in [each.get_text() for each in axes.texts]
    assert "limit p99<1ms" in texts(figure)
    assert size(sheet.png(figure)) == (1920, 1080)
    assert list(overlaps(figure)) == []


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [100, 2100, 1e8])
def test_sweeps_that_found_little(capacity):
    figure = sweep_figure(swept(queue(capacity, generator=9000), last=20_000))
    assert list(overlaps(figure)) == []
    low, high = figure.axes[1].get_ylim()
    assert low <= 1e6 < high, "the limit is in the picture"
    assert size(sheet.png(figure)) == (1920, 1080)


@pytest.mark.parametrize("model", ["closed", "open", "flood"])
def test_a_run(model):
    plan = {"model": model, **({"rate": 1000.0} if model == "open" else {}), "transport": "udp"}
    result = a_result(plan=plan, tally={"answered": 0} if model == "flood" else None)
    figure = blast_figure(result)
    (axes,) = figure.axes
    assert len(axes.lines) == {"closed": 1, "open": 2, "flood": 0}[model]
    assert model == "flood" or "p99" in axes.get_title(loc="left")
    assert any("server.example:7007" in each for each in texts(figure))
    assert list(overlaps(figure)) == []
    assert size(blast_png(result)) == (1920, 1080)


def test_settings_of_the_user_are_not_ours_and_come_back(compared):
    with mpl.rc_context({"figure.facecolor": "black", "font.size": 40, "text.usetex": True, "savefig.dpi": 10}):
        before = dict(mpl.rcParams)
        assert size(compare_png(synthetic(1, rounds=3))) == (1920, 1080)
        assert dict(mpl.rcParams) == before


COMMANDS = {"blast": "blast h", "sweep": "sweep h -L p99<1ms", "compare": "compare a={port}"}


@pytest.mark.parametrize("name", COMMANDS)
def test_without_matplotlib(monkeypatch, tmp_path, name):
    """A sentence before anything is run."""
    ran = []
    monkeypatch.setattr(runner, "run", lambda *_: ran.append("run"))
    monkeypatch.setattr(compare_module, "compare_all", lambda *_: ran.append("compared"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    command = {"blast": blast, "sweep": sweep, "compare": compare}[name]
    done = CliRunner().invoke(command, [*COMMANDS[name].split()[1:], "--png", str(tmp_path / "x.png")])
    assert (done.exit_code, ran) == (2, [])
    assert "pip install 'echobench[png]'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_is_imported_for_the_option_only_and_pyplot_never():
    code = "import sys, echobench.cli, echobench.bench.compare.command, echobench.bench.sweep.command\n"
    code += "assert not [name for name in sys.modules if name.startswith('matplotlib')]"
    assert subprocess.run([sys.executable, "-c", code], timeout=LIMIT).returncode == 0
    code = "import sys, echobench.bench.compare.picture, echobench.bench.sweep.picture\n"
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=LIMIT).returncode == 0

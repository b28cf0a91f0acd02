"""docs/measures/prices.py: what it makes of runs, and that the course's pages show it. No rate is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from rigs.places import DOCS

MEASURES = DOCS / "measures"
STORED = json.loads((MEASURES / "prices.json").read_text())


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    from prices_page import tables

    return tables


def a_run(number, program, work, **more):
    return {"measurement": "m", "round": number, "program": program, "work": work, "steal": 0.0, **more}


def a_chapter(runs):
    figure = {"title": "echoes", "key": "work", "form": ",.0f", "has_ratio": True}
    return {
        "date": "2026-11-06", "command": "python docs/measures/prices.py 1", "rounds": 3, "runs": runs,
        "machine": {"kernel": "6.18.5-x", "python": "CPython 3.11.7", "cpus": 2, "virtual": True},
        "programs": ["server.py", "mended.py"], "measurements": {"m": {"figures": [figure]}},
    }  # fmt: skip


def test_ratios_are_formed_within_undisturbed_rounds(tables):
    """A machine that is twice as fast in one round changes no ratio."""
    runs = [a_run(n, "server.py", 100 * (n + 1)) for n in range(4)]
    runs += [a_run(n, "mended.py", 90 * (n + 1)) for n in range(3)]
    runs += [a_run(3, "mended.py", 1, steal=0.5)]
    text = tables.table(a_chapter(runs))
    assert text[2] == "| echoes | `server.py` | 200 | 1 |"
    assert text[3] == "|  | `mended.py` | 180 | 0.90 (0.90..0.90) |"
    assert text[-1].startswith("Measured on 6 November 2026 with `python docs/measures/prices.py 1`: 3 rounds")
    assert "up to 50.0% of" in text[-1]
    assert "1 of 4 rounds in which it took more than 2% are left out." in text[-1]


def test_a_run_that_failed_has_no_figure(tables):
    failed = {"measurement": "m", "round": 0, "program": "mended.py", "steal": 0.0, "failed": "no"}
    runs = [a_run(0, "server.py", 100), failed]
    text = tables.table(a_chapter(runs))
    assert text[3] == "|  | `mended.py` | - | - |"
    assert text[-1].endswith("1 of 2 runs failed, and are left out: no.")


def test_nothing_is_no_multiple_of_nothing(tables):
    text = tables.table(a_chapter([a_run(0, "server.py", 0), a_run(0, "mended.py", 0)]))
    assert text[3] == "|  | `mended.py` | 0 | - |"


def test_what_is_stored_makes_what_is_in_the_docs(tables):
    assert (MEASURES / "prices.md").read_text() == tables.page(STORED)


@pytest.mark.parametrize("page", sorted(DOCS.glob("course/[0-9]*.md")), ids=lambda path: path.stem)
def test_each_chapter_shows_its_price(page):
    name = page.stem
    assert name in STORED["chapters"]
    marks = f":start-after: <!-- {name} -->\n:end-before: <!-- end of {name} -->\n"
    assert f"```{{include}} ../measures/prices.md\n{marks}```\n" in page.read_text()


def prices(*arguments):
    command = [sys.executable, str(MEASURES / "prices.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the instruments need Linux")
@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("make")), reason="the driver has to be built")
def test_a_chapter_is_measured_and_the_others_stay(tmp_path):
    stored = tmp_path / "prices.json"
    stored.write_text(json.dumps({"chapters": {"01-blocking": a_chapter([a_run(0, "server.py", 1)])}}))
    done = prices(10, "--rounds", 1, "--duration", 0.2, "--results", stored)
    assert done.returncode == 0, done.stderr
    found = json.loads(stored.read_text())["chapters"]
    assert set(found) == {"01-blocking", "10-failure"}
    runs = found["10-failure"]["runs"]
    assert {(run["measurement"], run["program"]) for run in runs} == {
        (name, program) for name in ("tcp -c 20", "full") for program in ("server.py", "mended.py")
    }
    assert not [run for run in runs if "failed" in run]
    assert stored.with_suffix(".md").read_text() + "\n" == done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([14], 2, "there is no chapter 14; there are 1 to 13"),
        (["--rounds", 0], 2, "--rounds is 1 or more"),
        (["--from", "nowhere.json"], 1, "nowhere.json"),
    ],
)
def test_what_prices_does_not_take(arguments, status, words):
    done = prices(*arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr

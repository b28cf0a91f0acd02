"""Commands whose output goes nowhere, or to a terminal that knows nothing but ASCII: what was measured is stored."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rigs.helpers import LIMIT
from rigs.places import RIGS

from echobench.bench.run.result import read

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the redirections are a POSIX shell's")

OPTIONS = "blast 127.0.0.1 --engine portable -d 0.3 --warmup 0"
BLAST = f"{sys.executable} {RIGS / 'fake_blast.py'} well {OPTIONS}"


def shell(line, **environment):
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=LIMIT, env={**os.environ, **environment}
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_a_report_that_cannot_be_printed(tmp_path, output):
    path = tmp_path / "r.json"
    done = shell(f"{BLAST} --quiet --json {path} {output}")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the report could not be printed: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert read(str(path)).tally.answered


def test_a_reader_that_has_gone(tmp_path):
    path = tmp_path / "r.json"
    done = shell(f"{BLAST} --quiet --json {path} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("141\n", "")
    assert read(str(path)).tally.answered


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("error", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_progress_that_cannot_be_shown_ends_nothing(tmp_path, error):
    path = tmp_path / "r.json"
    done = shell(f"{BLAST} --json {path} {error}")
    assert done.returncode == 0
    assert "round-trip time" in done.stdout
    assert read(str(path)).tally.answered


def test_nothing_at_all_is_open(tmp_path):
    path = tmp_path / "r.json"
    assert shell(f"{BLAST} --json {path} <&- >&- 2>&-").returncode == 1
    assert read(str(path)).tally.answered


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("words", ["--help", "blast --help", "verify --list", "--version"])
def test_a_help_that_cannot_be_printed(words):
    done = shell(f"{sys.executable} -m echobench {words} >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "Error: the report could not be printed: No space left on device\n"


def test_ascii():
    done = shell(f"{BLAST}", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert " us" in done.stdout
    assert done.stdout.isascii()
    assert done.stderr.isascii()


def test_the_result_on_standard_output(tmp_path):
    """Alone there: the report goes to standard error."""
    done = shell(f"{BLAST} --quiet --json - > {tmp_path / 'r.json'}")
    assert done.returncode == 0
    assert read(str(tmp_path / "r.json")).tally.answered
    assert "round-trip time" in done.stderr


def test_behind_what_is_there(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("mine\n")
    done = shell(f"{BLAST} --quiet --csv /dev/stdout >> {path}")
    assert done.returncode == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "mine"
    assert len(lines) == 3


def test_two_results_in_one_place():
    done = shell(f"{BLAST} --json - --csv /dev/stdout")
    assert done.returncode == 2
    assert "--json and --csv both go to standard output: choose another file for one" in done.stderr
    assert done.stdout == ""

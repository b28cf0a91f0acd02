"""The documentation's examples run, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from rigs.helpers import ServerProcess, blocking, exchange, run
from rigs.places import DOCS


def named(path):
    return str(path.relative_to(DOCS.parent))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(DOCS.glob("examples/*.py")), ids=named)
def test_an_example(tmp_path, path):
    done = run([sys.executable, str(path)], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    assert done.stdout.strip()


def test_the_example_tac(launch):
    server = launch(
        command=[*ServerProcess.TWISTD, "--pidfile=", "-noy", str(DOCS / "examples/echo.tac")], env={"ECHO_PORT": "0"}
    )
    assert blocking(exchange, server.port(), [b"tac"]) == b"tac"


PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


@pytest.mark.parametrize("path", [*PAGES, DOCS.parent / "README.md"], ids=named)
def test_links_and_included_files_are_there(path):
    text = path.read_text()
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (path.parent / target).exists(), f"{named(path)} links to {target}"
    for target in re.findall(r"\{literalinclude\} (\S+)", text):
        assert (path.parent / target).exists(), f"{named(path)} includes {target}"


@pytest.mark.slow
@pytest.mark.timeout(400)  # it has many pages, and a busy machine takes its time
def test_the_site_builds(tmp_path):
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path / "html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr

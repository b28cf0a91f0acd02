"""The instrument that says what metrics cost runs; no figure is asserted."""

from __future__ import annotations

import re
import sys

import pytest
from rigs.helpers import needs_linux, run
from rigs.places import DOCS, ROOT


@pytest.mark.slow
@needs_linux
def test_it_says_what_each_server_took():
    done = run([sys.executable, str(DOCS / "measures/metrics_cost.py"), "1"], ROOT)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^.+: \d+\.\d{4}% of a CPU$", done.stdout, re.MULTILINE)) == 4

"""The command ``echobench`` with fake workers: ``python fake_blast.py HOW blast HOST …``."""

from __future__ import annotations

import sys
from pathlib import Path

from echobench.bench.load import runner
from echobench.cli import main

runner.WORKER = (sys.executable, str(Path(__file__).with_name("fake_load.py")), sys.argv.pop(1))
main()

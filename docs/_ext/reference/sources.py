"""Where the reference comes from: all that these generators know of echobench's modules is here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from echobench import bench
from echobench.bench.blast.command import blast
from echobench.bench.blast.options import SECTIONS as BLAST
from echobench.bench.compare.command import compare
from echobench.bench.compare.options import SECTIONS as COMPARE
from echobench.bench.compare.profiles import PROFILES
from echobench.bench.doctor.command import OPTIONS as DOCTOR
from echobench.bench.doctor.command import doctor
from echobench.bench.ladder.command import ladder
from echobench.bench.ladder.options import LADDER_SECTIONS as LADDER
from echobench.bench.learn.chapters import Chapter, Check, chapters
from echobench.bench.learn.command import OPTIONS as LEARN
from echobench.bench.learn.command import learn
from echobench.bench.nic.command import OPTIONS as NIC
from echobench.bench.nic.command import nic
from echobench.bench.show.command import SECTIONS as SHOW
from echobench.bench.show.command import show
from echobench.bench.sweep.command import command as sweep
from echobench.bench.sweep.options import SWEEP_SECTIONS as SWEEP
from echobench.bench.verify.clauses import CLAUSES
from echobench.bench.verify.command import OPTIONS as VERIFY
from echobench.bench.verify.command import verify
from echobench.counters import Reason
from echobench.engines.tcp.states import GONE, TRANSITIONS, State
from echobench.injection.kinds import KINDS as FAULTS
from echobench.server.plugin.tap import Options

__all__ = [
    "CLAUSES", "COMMANDS", "FAULTS", "GONE", "PACKAGE", "PROFILES", "SCHEMAS", "SECTIONS", "TRANSITIONS",
    "Chapter", "Check", "Options", "Reason", "State", "chapters", "schema",
]  # fmt: skip

HERE = Path(bench.__file__).parent
PACKAGE = HERE.parent

COMMANDS: dict[str, click.Command] = {
    "blast": blast, "compare": compare, "doctor": doctor, "ladder": ladder, "learn": learn, "nic": nic, "show": show,
    "sweep": sweep, "verify": verify,
}  # fmt: skip

SECTIONS = {
    "blast": BLAST, "compare": COMPARE, "doctor": {"": DOCTOR}, "ladder": LADDER, "learn": {"": LEARN},
    "nic": {"": NIC}, "show": SHOW,
    "sweep": SWEEP, "verify": {"": VERIFY},
}  # fmt: skip
"""The options of each command, by what they are for."""

SCHEMAS = {
    "blast": HERE / "run/result.schema.json",
    "compare": HERE / "compare/analysis/comparison.schema.json",
    "doctor": HERE / "doctor/doctor.schema.json",
    "nic": HERE / "nic/nic.schema.json",
    "sweep": HERE / "sweep/sweep.schema.json",
    "verify": HERE / "verify/verification.schema.json",
}
"""The schema of what each command stores."""


def schema(command: str) -> dict[str, Any]:
    """Read a command's schema."""
    whole: dict[str, Any] = json.loads(SCHEMAS[command].read_text())
    return whole

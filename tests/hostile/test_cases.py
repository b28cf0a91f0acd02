"""Every hostile case, over every engine that it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import cases
from hostile.case import CASES, Case, Trial, check
from twisted.internet import reactor

from echobench.engines import DATAGRAM, STREAM, EngineError, Setting, choose

assert cases.MODULES, "importing the modules fills the table"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def available(case: Case, engine: str) -> None:
    """Skip if the engine cannot be had here."""
    try:
        choose(STREAM if case.kind.name == "tcp" else DATAGRAM, engine, Setting(reactor))
    except EngineError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("case", "engine"),
    [pytest.param(case, engine, id=f"{case.slug}-{engine}") for case in CASES for engine in case.engines],
)
def test_case(
    case: Case, engine: str, is_long: bool, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    check(case.needs)
    available(case, engine)
    trial = Trial(case.kind, engine, case.long if is_long else case.short, tmp_path)
    try:
        with trial.ending:
            case.attack(trial)
    finally:
        row = {"case": case.slug, "engine": engine, "done": case.done, "holds": case.holds, "unit": case.unit}
        record_property("hostile", {**row, **trial.counts})
    assert trial.counts["tried"], "nothing was tried"
    lost = "; ".join([f"{trial.counts['lost']} of {trial.counts['tried']} {case.unit} were lost", *trial.losses])
    assert not trial.counts["lost"], lost

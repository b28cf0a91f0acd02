"""What the hostile cases tried and lost, from the report that their long form stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parent.parent.parent / "measures" / "reliability.json"
KINDS = {"tcp": "TCP", "udp": "UDP"}


def cases(kind: str) -> str:
    """List the cases of a kind (tcp or udp), with how much of each was tried on each engine."""
    rows = [row for row in _report()["outcomes"] if row["case"].startswith(f"{kind}-")]
    engines = sorted({row["engine"] for row in rows})
    head = ["what is done", "what must hold", "counted in", *(f"`{engine}`" for engine in engines), "lost"]
    lines = [head, ["---"] * 3 + ["---:"] * (len(engines) + 1)]
    for name in dict.fromkeys(row["case"] for row in rows):
        of_case = {row["engine"]: row for row in rows if row["case"] == name}
        first = next(iter(of_case.values()))
        tried = [f"{of_case[engine]['tried']:,}" if engine in of_case else "" for engine in engines]
        lost = sum(row["lost"] for row in of_case.values())
        lines.append([first["done"], first["holds"], first["unit"], *tried, f"{lost:,}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def totals() -> str:
    """Say in a sentence when and where the report was made, and what came of it."""
    report = _report()
    rows = report["outcomes"]
    failed = sorted({row["case"] for row in rows if not row["passed"]})
    verdict = f"These failed: {', '.join(failed)}." if failed else "All passed."
    form = "long" if report["long"] else "short"
    return (
        f"The {form} form: {len({row['case'] for row in rows})} cases, {len(rows)} runs over the engines, "
        f"{sum(row['tried'] for row in rows):,} things tried in {sum(row['seconds'] for row in rows) / 60:.0f} minutes "
        f"of tests, {sum(row['lost'] for row in rows):,} lost. {verdict} "
        f"echobench {report['version']}, Linux {report['kernel']}, Python {report['python']}, {report['date']}.\n"
    )


def _report() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
    return whole

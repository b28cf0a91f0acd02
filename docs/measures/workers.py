"""Measure what several workers cost and bring, and what a killed one costs others: the tables of "Beyond one core".

    python docs/measures/workers.py                         all parts
    python docs/measures/workers.py --parts kills,spread    some parts; the others stay as they are stored
    python docs/measures/workers.py --from FILE             measure nothing: draw what FILE holds

rates   work per CPU second, and messages a second, of two processes and of one, echobench's and C's; the load, of two
        processes, is on the same two CPUs
kills   time without service after one of two workers is killed
loaded  the same beside a load
spread  flows of each worker by the kernel's hash, and with --steer cpu

What is measured is stored as JSON first, in docs/measures/workers.json, each part with its command; then the tables are
made of it, in workers.md, and printed. In each round the servers follow each other in random order, and ratios are
formed within the round. Linux, two CPUs, a C compiler and make; all parts take some ten minutes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results_page import machine
from results_page.endings import page_of
from results_page.subjects import ROOT, MeasureError, build
from workers_page.kills import kills
from workers_page.rates import rates
from workers_page.spread import skew, steer
from workers_page.tables import page

RESULTS = ROOT / "docs" / "measures" / "workers.json"
PARTS: dict[str, Callable[[argparse.Namespace, tuple[int, int]], list[dict[str, Any]]]] = {
    "rates": rates,
    "kills": lambda chosen, _: kills(chosen, loaded=False),
    "loaded": lambda chosen, _: kills(chosen, loaded=True),
    "spread": lambda chosen, cpus: [*skew(chosen), *steer(cpus)],
}


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="with commas between them (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="of the rates (default: %(default)s)")
    parser.add_argument("--duration", type=float, default=1.5, help="seconds that are counted (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=0.5, help="seconds before them (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="of kills, and of loaded (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="times that 256 flows are new (default: %(default)s)")
    parser.add_argument("--workers", default="2,8", help="over which flows are spread (default: %(default)s)")
    parser.add_argument("--from", dest="stored", type=Path, metavar="FILE", help="measure nothing: draw FILE's figures")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where to store (default: workers.json, here)")
    chosen = parser.parse_args(arguments)
    if min(chosen.rounds, chosen.kills, chosen.draws) < 1 or chosen.duration < 0.05 or chosen.warm_up < 0:
        parser.error("--rounds, --kills and --draws are 1 or more, --duration 0.05 or more, --warm-up not negative")
    try:
        chosen.workers = [int(each) for each in chosen.workers.split(",")]
    except ValueError:
        parser.error(f"--workers is numbers with commas between them, not {chosen.workers}")
    chosen.parts = chosen.parts.split(",")
    for name in chosen.parts:
        if name not in PARTS:
            parser.error(f"--parts: there is no {name}; there are {', '.join(PARTS)}")
    chosen.arguments = sys.argv[1:] if arguments is None else arguments
    return chosen


def two_cpus() -> tuple[int, int]:
    """Give the first and the last CPU that this process may use. Raises MeasureError if there is but one."""
    if not hasattr(os, "sched_getaffinity"):
        raise MeasureError("this system cannot keep a process on a CPU; the measurement needs Linux")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise MeasureError("two CPUs are needed, and this process may use one")
    return allowed[0], allowed[-1]


def measure(chosen: argparse.Namespace, results: Path) -> dict[str, Any]:
    """Measure what was chosen; store each part as soon as it is measured."""
    cpus = two_cpus()
    build()
    stored: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {"parts": {}}
    stored.update(schema="echobench-workers-page/1", machine=machine.describe())
    for name in chosen.parts:
        runs = PARTS[name](chosen, cpus)
        stored["parts"][name] = {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "version": machine.commit(ROOT) or "unknown",
            "command": shlex.join(["python", "docs/measures/workers.py", *chosen.arguments]),
            "runs": runs,
        }
        results.write_text(written(stored))
    return stored


def written(stored: dict[str, Any]) -> str:
    """Write what is stored as JSON, each run on a line of its own."""
    text = json.dumps({**stored, "parts": {}}, indent=1)
    parts = []
    for name, part in stored["parts"].items():
        runs = ",\n   ".join(json.dumps(run) for run in part["runs"])
        body = json.dumps({**part, "runs": []}).replace('"runs": []', f'"runs": [\n   {runs}\n  ]')
        parts.append(f"  {json.dumps(name)}: {body}")
    return text.replace('"parts": {}', '"parts": {\n' + ",\n".join(parts) + "\n }") + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure or read, then store, write and print."""
    chosen = options(arguments)
    results = chosen.results or chosen.stored or RESULTS
    return page_of("workers.py", chosen.stored, lambda: measure(chosen, results), page, results)


if __name__ == "__main__":
    sys.exit(main())

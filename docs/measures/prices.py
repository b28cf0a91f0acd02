"""Measure what the mending of each chapter of the course costs: the tables under "The price".

    python docs/measures/prices.py                     all chapters, some four minutes
    python docs/measures/prices.py 1 12                some chapters; the others stay as they are stored
    python docs/measures/prices.py --from FILE         measure nothing: draw what FILE holds

In each round the programs of a chapter are started afresh on one CPU, in random order, and loaded from another by
peers/driver, or tried by a probe (prices_page/probes.py). Ratios to the first program are formed within each round.
What is measured is stored as JSON, in docs/measures/prices.json; then the tables are made of it, in prices.md, which
the pages of the course include. Linux, two CPUs, a C compiler and make.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import resource
import sys
from pathlib import Path
from typing import Any

import run
from prices_page.chapters import CHAPTERS, COURSE, Chapter, Measurement
from prices_page.tables import page
from results_page import machine
from results_page.endings import page_of
from results_page.ratios import Run, usable, work
from results_page.subjects import ROOT, MeasureError, build, serving

RESULTS = ROOT / "docs" / "measures" / "prices.json"
USUAL = {"rounds": 5, "duration": 1.0}
STORED = ("steal", "others", "failed", "echoes", "server_cpu", "p50_us", "p99_us")
"""What is stored of a run of the driver."""


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", type=int, metavar="CHAPTER", help="their numbers (default: all)")
    parser.add_argument("--rounds", type=int, default=USUAL["rounds"], help="of each program (default: %(default)s)")
    parser.add_argument(
        "--duration", type=float, default=USUAL["duration"], help="seconds that are counted (default: %(default)g)"
    )
    parser.add_argument("--warm-up", type=float, default=0.3, help="seconds before them (default: 0.3)")
    parser.add_argument("--seed", type=int, default=1, help="where the random order begins (default: 1)")
    parser.add_argument("--from", dest="stored", type=Path, metavar="FILE", help="measure nothing: draw FILE's figures")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where to store (default: prices.json, here)")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1 or chosen.duration < 0.05 or chosen.warm_up < 0:
        parser.error("--rounds is 1 or more, --duration 0.05 or more, --warm-up not negative")
    if wrong := [number for number in chosen.chapters if not 1 <= number <= len(CHAPTERS)]:
        parser.error(f"there is no chapter {wrong[0]}; there are 1 to {len(CHAPTERS)}")
    return chosen


def probed(chapter: Chapter, program: str, measurement: Measurement, cpus: tuple[int, int]) -> Run:
    """Try one program with a probe; give its figures and what the host took."""
    assert measurement.probe is not None
    try:
        with serving(chapter.subject(program), "tcp", cpus[0]) as (pid, port):
            before = machine.times(cpus)
            found = measurement.probe(port, pid, COURSE / chapter.programs[program])
            after = machine.times(cpus)
    except (MeasureError, OSError) as error:
        return {"steal": 0.0, "failed": str(error)}
    return {"steal": round((after["stolen"] - before["stolen"]) / (after["all"] - before["all"]), 4), **found}


def loaded(chapter: Chapter, program: str, measurement: Measurement, cpus: tuple[int, int], chosen: Any) -> Run:
    """Load one program with the driver; give its work per CPU second, its times and what the host took."""
    assert measurement.load is not None
    found = run.measure(measurement.load, chapter.subject(program), cpus, chosen.duration, chosen.warm_up)
    kept = {name: found[name] for name in STORED if name in found}
    if "failed" not in found and not usable(found):
        kept["failed"] = "the server used no processor time that could be measured"
    return {"steal": 0.0, **kept, **({} if "failed" in kept else {"work": work(found)})}


def measure_chapter(chapter: Chapter, cpus: tuple[int, int], chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure a chapter; give what is to be stored."""
    turns, runs = random.Random(chosen.seed), []
    number = int(chapter.name[:2])
    for turn in range(chosen.rounds):
        for measurement in chapter.measurements:
            order = list(chapter.programs)
            turns.shuffle(order)
            for program in order:
                if measurement.load:
                    found = loaded(chapter, program, measurement, cpus, chosen)
                else:
                    found = probed(chapter, program, measurement, cpus)
                runs.append({"measurement": measurement.name, "round": turn, "program": program, **found})
                print(f"chapter {number}, round {turn + 1}, {measurement.name}, {program}: {found}", file=sys.stderr)
    asked = [f"--{name} {getattr(chosen, name):g}" for name, usual in USUAL.items() if getattr(chosen, name) != usual]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "command": " ".join(["python docs/measures/prices.py", str(number), *asked]),
        "version": machine.commit(ROOT) or "unknown",
        "machine": machine.describe(),
        "rounds": chosen.rounds,
        "programs": list(chapter.programs),
        "measurements": {
            each.name: {"figures": [vars(figure) for figure in each.figures]} for each in chapter.measurements
        },
        "runs": runs,
    }


def written(stored: dict[str, Any]) -> str:
    """Write what is stored as JSON, each run on a line of its own."""
    chapters = []
    for name, chapter in sorted(stored["chapters"].items()):
        runs = ",\n   ".join(json.dumps(each) for each in chapter["runs"])
        body = json.dumps({**chapter, "runs": []}).replace('"runs": []', f'"runs": [\n   {runs}\n  ]')
        chapters.append(f"  {json.dumps(name)}: {body}")
    text = json.dumps({**stored, "chapters": {}}, indent=1)
    return text.replace('"chapters": {}', '"chapters": {\n' + ",\n".join(chapters) + "\n }") + "\n"


def measure(chosen: argparse.Namespace, results: Path) -> dict[str, Any]:
    """Measure what was chosen; store each chapter as soon as it is measured."""
    cpus = run.pick_cpus(None, None)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the crowd, here and in the server
    os.sched_setaffinity(0, {cpus[1]})
    build()
    stored: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {"chapters": {}}
    stored["schema"] = "echobench-course-prices/1"
    for name, chapter in CHAPTERS.items():
        if not chosen.chapters or int(name[:2]) in chosen.chapters:
            stored["chapters"][name] = measure_chapter(chapter, cpus, chosen)
            results.write_text(written(stored))
    return stored


def main(arguments: list[str] | None = None) -> int:
    """Measure or read, then store, write and print."""
    chosen = options(arguments)
    results = chosen.results or chosen.stored or RESULTS
    return page_of("prices.py", chosen.stored, lambda: measure(chosen, results), page, results)


if __name__ == "__main__":
    sys.exit(main())

"""Measure everything on the results page: its tables and its chart, by one command.

    python docs/measures/run.py                             all servers, all loads, 7 rounds
    python docs/measures/run.py --loads tcp-50,udp-16       some loads
    python docs/measures/run.py --from docs/measures/results.json       draw again, measure nothing
    python docs/measures/run.py --before ../echobench-before            this checkout beside another one

It builds the servers in C and the driver (docs/measures/peers/). In each round and for each load, each server is
started afresh on one CPU, in random order, and the driver loads it from another CPU. The main figure is work per CPU
second: echoes for each second of the server's own processor time. Ratios to C are formed within each round.
Linux, two CPUs, a C compiler and make. uvloop, Go and Node are measured where they are installed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results_page import machine
from results_page.chart import chart
from results_page.fragment import fragment
from results_page.loads import BEFORE_AFTER, LOADS, Load
from results_page.ratios import Run, summary
from results_page.subjects import PEERS, ROOT, MeasureError, Subject, again, build, find, serving

RESULTS = ROOT / "docs" / "measures" / "results.json"
PICTURE = ROOT / "docs" / "images" / "results.svg"
PATIENCE = 2.0
"""Seconds after which an answer counts as lost."""


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each server meets each load (default: 7)")
    parser.add_argument("--duration", type=float, default=3.0, help="seconds that are counted in each run (default: 3)")
    parser.add_argument("--warm-up", type=float, default=0.5, help="seconds before them (default: 0.5)")
    parser.add_argument(
        "--loads", help=f"names with commas between them (default: all; with --before, {','.join(BEFORE_AFTER)})"
    )
    parser.add_argument(
        "--servers", help="names with commas between them; C is always measured (default: all there are)"
    )
    parser.add_argument("--before", type=Path, metavar="DIR", help="another checkout of echobench, with its own .venv")
    parser.add_argument("--seed", type=int, default=1, help="where the random order begins (default: 1)")
    parser.add_argument("--server-cpu", type=int, help="default: the first that this process may use")
    parser.add_argument("--driver-cpu", type=int, help="default: the last one")
    parser.add_argument(
        "--from", dest="stored", type=Path, metavar="FILE", help="measure nothing: draw what FILE holds"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help=f"default: {RESULTS.relative_to(ROOT)}; with --before, none"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help=f"default: {PICTURE.relative_to(ROOT)}; with --before, none"
    )
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1 or chosen.duration < 0.05 or chosen.warm_up < 0:
        parser.error("--rounds is 1 or more, --duration 0.05 or more, --warm-up not negative")
    chosen.arguments = sys.argv[1:] if arguments is None else arguments
    return chosen


def pick_loads(names: str | None, before: Path | None) -> list[Load]:
    """Give the loads with these names. Raises MeasureError for a name that there is not."""
    wanted = names.split(",") if names else list(BEFORE_AFTER if before else LOADS)
    for name in wanted:
        if name not in LOADS:
            raise MeasureError(f"--loads: there is no load {name}; there are {', '.join(LOADS)}")
    return [LOADS[name] for name in wanted]


def measurable(loads: list[Load], found: dict[str, Subject], absent: dict[str, str], named: bool) -> list[Load]:
    """Give the loads whose server in C is here. Raises MeasureError for one that was named and cannot be measured."""
    for load in loads:
        if named and load.reference not in found:
            raise MeasureError(f"--loads: {load.name} cannot be measured: {absent[load.reference]}")
    return [load for load in loads if load.reference in found]


def pick_servers(names: str | None, found: dict[str, Subject], absent: dict[str, str]) -> set[str]:
    """Give the names of the servers to measure. Raises MeasureError for one that is not there."""
    if not names:
        return set(found)
    for name in names.split(","):
        if name not in found:
            raise MeasureError(
                f"--servers: {absent.get(name, f'there is no server {name}')}; there are {', '.join(found)}"
            )
    return set(names.split(","))


def pick_cpus(server: int | None, driver: int | None) -> tuple[int, int]:
    """Give the server's CPU and the driver's."""
    if not hasattr(os, "sched_getaffinity"):
        raise MeasureError("this system cannot keep a process on a CPU; the measurement needs Linux")
    allowed = sorted(os.sched_getaffinity(0))
    cpus = (allowed[0] if server is None else server, allowed[-1] if driver is None else driver)
    if cpus[0] == cpus[1] or not set(cpus) <= set(allowed):
        raise MeasureError(
            f"server and driver need a CPU each; chosen were {cpus[0]} and {cpus[1]} of {', '.join(map(str, allowed))}"
        )
    return cpus


def taking_part(load: Load, found: dict[str, Subject], wanted: set[str]) -> list[Subject]:
    """Give the servers that meet a load: those that speak its transport, and the reference twice."""
    reference = found[load.reference]
    some = [
        each
        for each in found.values()
        if each.name in wanted and each is not reference and {load.transport, load.name}.intersection(each.transports)
    ]
    return [reference, again(reference), *some]


def measure(load: Load, subject: Subject, cpus: tuple[int, int], duration: float, warm_up: float) -> dict[str, Any]:
    """Run one server under one load; give the driver's figures and what the CPUs did besides, or why there are none."""
    try:
        with serving(subject, load.transport, cpus[0]) as server:
            return ask(load, server, cpus, duration, warm_up)
    except (MeasureError, OSError) as error:
        return {"failed": str(error)}


def ask(load: Load, server: tuple[int, int], cpus: tuple[int, int], duration: float, warm_up: float) -> dict[str, Any]:
    """Offer a load to a server that runs, known by its process id and its port; give what :func:`measure` gives."""
    pid, port = server
    command = [str(PEERS / "driver"), load.driver[0], str(port), *load.driver[1:]]
    command += ["-d", str(duration), "-u", str(warm_up), "-t", str(PATIENCE), "-p", str(pid)]
    before, own, used = machine.times(cpus), resource.getrusage(resource.RUSAGE_CHILDREN), machine.used(pid)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=duration + warm_up + 60,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpus[1]}),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"failed": str(error)}
    after, end = machine.times(cpus), resource.getrusage(resource.RUSAGE_CHILDREN)
    known = end.ru_utime + end.ru_stime - own.ru_utime - own.ru_stime + machine.used(pid) - used
    spent = {name: after[name] - before[name] for name in before}
    found = {
        "steal": round(spent["stolen"] / spent["all"], 4) if spent["all"] else 0.0,
        "others": round(max(0.0, spent["busy"] - known) / spent["all"], 4) if spent["all"] else 0.0,
    }
    if not done.stdout.startswith("{"):
        return {**found, "failed": done.stderr.strip() or f"the driver ended with status {done.returncode}"}
    said = json.loads(done.stdout)
    if done.returncode:
        kinds = ", ".join(f"{count} {kind}" for kind, count in said["errors"].items() if count)
        found["failed"] = f"{said['first']} ({kinds})" if kinds else "no echo came back"
    return {**found, **said}


def run_all(chosen: argparse.Namespace, temporary: Path) -> dict[str, Any]:
    """Measure everything that was chosen; give what is to be stored."""
    before = chosen.before.resolve() if chosen.before else None
    loads, cpus = pick_loads(chosen.loads, before), pick_cpus(chosen.server_cpu, chosen.driver_cpu)
    build()
    found, absent = find(temporary, before)
    loads = measurable(loads, found, absent, chosen.loads is not None)
    names = "ours,ours-before" if before and not chosen.servers else chosen.servers
    wanted = pick_servers(names, found, absent)
    turns = random.Random(chosen.seed)
    began = datetime.datetime.now(datetime.timezone.utc)
    runs: list[Run] = []
    for number in range(chosen.rounds):
        for load in loads:
            order = taking_part(load, found, wanted)
            turns.shuffle(order)
            for place, subject in enumerate(order):
                run = measure(load, subject, cpus, chosen.duration, chosen.warm_up)
                runs.append({"load": load.name, "round": number, "place": place, "server": subject.name, **run})
                said = run.get("failed") or f"{run['rate']:,.0f} msg/s, steal {run['steal']:.1%}"
                print(f"round {number + 1} of {chosen.rounds}, {load.name}, {subject.name}: {said}", file=sys.stderr)
    subjects = {each.name: each for load in loads for each in taking_part(load, found, wanted)}
    shown = {
        load.name: {"title": load.title, "driver": list(load.driver), "reference": load.reference} for load in loads
    }
    return {
        "schema": "echobench-results-page/1",
        "date": began.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "docs/measures/run.py", *chosen.arguments]),
        "machine": machine.describe(),
        "versions": machine.versions(ROOT, before),
        "options": {
            "rounds": chosen.rounds, "duration": chosen.duration, "warm_up": chosen.warm_up, "seed": chosen.seed,
            "server_cpu": cpus[0], "driver_cpu": cpus[1],
        },
        "servers": {name: {"title": each.title, "command": each.shown} for name, each in subjects.items()},
        "absent": {} if names else absent,
        "loads": shown,
        "summary": summary(runs, shown),
        "runs": runs,
    }  # fmt: skip


def written(stored: dict[str, Any]) -> str:
    """Write what is stored as JSON, each run on a line of its own."""
    runs = ",\n  ".join(json.dumps(run) for run in stored["runs"])
    return json.dumps({**stored, "runs": []}, indent=1).replace('"runs": []', f'"runs": [\n  {runs}\n ]') + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure or read, then write and print."""
    chosen = options(arguments)
    results, picture = chosen.results, chosen.picture
    if not chosen.before and not chosen.stored:
        results = results or RESULTS
    if not chosen.before:
        picture = picture or PICTURE
    try:
        if chosen.stored:
            stored = json.loads(chosen.stored.read_text())
            stored["summary"] = summary(stored["runs"], stored["loads"])
            results = results or chosen.stored
        else:
            with tempfile.TemporaryDirectory() as temporary:
                stored = run_all(chosen, Path(temporary))
    except (MeasureError, OSError, ValueError, KeyError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    text = fragment(stored)
    if results:
        if not chosen.stored:
            results.write_text(written(stored))
        results.with_suffix(".md").write_text(text)
    if picture:
        picture.write_text(chart(stored))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

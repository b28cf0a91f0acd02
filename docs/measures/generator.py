"""What a message costs blast and a driver in C, against the same servers: the generators' own processor time.

    python docs/measures/generator.py                                    every row, 7 rounds
    python docs/measures/generator.py --rows tcp-50,connect --rounds 3
    python docs/measures/generator.py --from generator.json              draw the table again

In each round, each row's two generators (blast, and docs/measures/peers/driver) load the same kind of server in C on
another CPU, one straight after the other, in random order. The figure is messages for each second of the generator's
own processor time, blast's divided by the driver's. Both check every byte. The runs are stored before the table is
made; rounds in which the host took more than 2 % of the time are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_page import machine
from results_page.ratios import MOST_STEAL, spread
from results_page.subjects import PEERS, ROOT, MeasureError, Subject, build, find, serving
from run import pick_cpus

from echobench.bench.load.runner import run as blast
from echobench.bench.run.plan import Plan

PATIENCE = 2.0
"""Seconds after which an answer counts as lost."""


@dataclass(frozen=True)
class Row:
    """A load, as the driver takes it and as blast does, and the server in C."""

    name: str
    title: str
    server: str
    driver: tuple[str, ...]
    plan: dict[str, Any]


def _row(name: str, title: str, server: str, mode: str, **load: Any) -> Row:
    """Make a row of one set of numbers for both generators."""
    flows, window, size, trains = (load.get(key) for key in ("flows", "window", "size", "gso"))
    options: list[str] = []
    for letter, value in (("-c", flows), ("-w", window), ("-s", size)):
        options += [letter, str(value)] if value else []
    if trains:
        options.append("-g")
    if size:
        load["size"] = str(size)
    transport, model = ("tcp", "connect") if mode == "connect" else (mode, "closed")
    if mode == "flood":
        transport, model = "udp", "flood"
    return Row(name, title, server, (mode, *options), {"transport": transport, "model": model, **load})


ROWS = {
    row.name: row
    for row in (
        _row("tcp-50", "TCP 64 B, 50 connections", "c-epoll", "tcp", flows=50),
        _row("tcp-1000", "TCP 64 B, 1,000 connections", "c-epoll", "tcp", flows=1000),
        _row("tcp-50x16", "TCP 64 B, 16 under way on each of 50", "c-epoll", "tcp", flows=50, window=16),
        _row("tcp-64k", "TCP 64 KiB, 8 connections", "c-epoll", "tcp", flows=8, size=65536),
        _row("tcp-16k", "TCP 16 KiB, 50 connections", "c-epoll", "tcp", flows=50, size=16384),
        _row("udp-16", "UDP 64 B, 12 under way on each of 16", "c-mmsg", "udp", flows=16, window=12),
        _row(
            "train-1", "UDP trains, 1 flow, 40 under way", "c-mmsg-gro", "udp", flows=1, window=40, size=1200, gso=True
        ),
        _row("train-4", "UDP trains, 4 flows, 40 each", "c-mmsg-gro", "udp", flows=4, window=40, size=1200, gso=True),
        _row("train-8", "UDP trains, 8 flows, 40 each", "c-mmsg-gro", "udp", flows=8, window=40, size=1200, gso=True),
        _row("flood", "UDP 64 B, one way", "c-mmsg", "flood", flows=16),
        _row("connect", "TCP, connect, echo, close; 20 at a time", "c-epoll", "connect", flows=20),
    )
}


def drive(row: Row, port: int, cpu: int, duration: float, warm_up: float) -> dict[str, Any]:
    """Run the driver in C."""
    command = [str(PEERS / "driver"), row.driver[0], str(port), *row.driver[1:]]
    command += ["-d", str(duration), "-u", str(warm_up), "-t", str(PATIENCE)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=duration + warm_up + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    )  # fmt: skip
    said = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    if done.returncode:
        return {"failed": said.get("first") or done.stderr.strip() or f"status {done.returncode}"}
    return {"messages": said["echoes"], "cpu": said["driver_cpu"], "seconds": said["seconds"], "p50_us": said["p50_us"]}


def offer(row: Row, port: int, cpu: int, duration: float, warm_up: float) -> dict[str, Any]:
    """Run blast."""
    plan = Plan(
        host="127.0.0.1", port=port, duration=duration, warmup=warm_up, cooldown=0.0, timeout=PATIENCE, cpus=(cpu,),
        **row.plan,
    )  # fmt: skip
    result = blast(plan)
    tally, [process] = result.tally, result.processes
    messages = tally.one_way if plan.model == "flood" else tally.answered
    wrong = tally.corrupted + tally.truncated + tally.unexpected + tally.duplicates + tally.connections_lost
    if wrong or not messages:
        return {"failed": f"{wrong} answers were wrong, {messages} right"}
    return {
        "messages": messages, "cpu": tally.cpu, "seconds": tally.window, "engine": process.engine,
        "p50_us": tally.from_send.percentile(50.0) / 1e3 if plan.model != "flood" else 0.0,
    }  # fmt: skip


SIDES = {"blast": offer, "driver": drive}


def measure(row: Row, side: str, server: Subject, cpus: tuple[int, int], times: tuple[float, float]) -> dict[str, Any]:
    """Run one generator against a server that is started for it."""
    try:
        with serving(server, row.plan["transport"], cpus[0]) as (_, port):
            before = machine.times(cpus)
            found = SIDES[side](row, port, cpus[1], *times)
            after = machine.times(cpus)
    except (MeasureError, OSError, subprocess.TimeoutExpired) as error:
        return {"failed": str(error)}
    passed = after["all"] - before["all"]
    return {**found, "steal": round((after["stolen"] - before["stolen"]) / passed, 4) if passed else 0.0}


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each row's ratio, formed within each round that counts."""
    found = []
    for name in dict.fromkeys(run["row"] for run in runs):
        mine = [run for run in runs if run["row"] == name]
        ratios, works, rounds = [], [], sorted({run["round"] for run in mine})
        for number in rounds:
            of = {run["side"]: run for run in mine if run["round"] == number and "failed" not in run}
            if len(of) < 2 or any(run["steal"] > MOST_STEAL for run in of.values()):
                continue
            work = {side: run["messages"] / run["cpu"] for side, run in of.items()}
            ratios.append(work["blast"] / work["driver"])
            works.append(work)
        found.append(
            {
                "row": name,
                "rounds": len(rounds),
                "kept": len(ratios),
                "ratio": spread(ratios),
                "work": {side: sorted(each[side] for each in works)[len(works) // 2] for side in SIDES}
                if works
                else {},
                "steal": max((run.get("steal", 0.0) for run in mine), default=0.0),
                "failed": [f"{run['side']}: {run['failed']}" for run in mine if "failed" in run],
            }
        )
    return found


def table(rows: list[dict[str, Any]], titles: dict[str, str]) -> str:
    """Write the table as Markdown."""
    lines = [
        "| load | blast : driver | 95 % interval | blast, msg per CPU second | driver | rounds | steal, most |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        ratio, work = row["ratio"], row["work"]
        between = ratio and ratio["interval"]
        cells = [
            titles[row["row"]],
            f"{ratio['median']:.2f} ({ratio['least']:.2f}..{ratio['greatest']:.2f})" if ratio else "-",
            f"{between[0]:.2f}..{between[1]:.2f}" if between else "-",
            *(f"{work[side]:,.0f}" if work else "-" for side in SIDES),
            f"{row['kept']} of {row['rounds']}",
            f"{row['steal']:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *(f"\n{titles[row['row']]}: {each}" for row in rows for each in row["failed"])])


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help=f"names with commas between them (default: {','.join(ROWS)})")
    parser.add_argument("--rounds", type=int, default=7, help="how often each generator meets each row (default: 7)")
    parser.add_argument("--duration", type=float, default=1.0, help="seconds that are counted in each run (default: 1)")
    parser.add_argument("--warm-up", type=float, default=0.3, help="seconds before them (default: 0.3)")
    parser.add_argument("--seed", type=int, default=1, help="where the random order begins (default: 1)")
    parser.add_argument("--server-cpu", type=int, help="default: the first that this process may use")
    parser.add_argument("--driver-cpu", type=int, help="default: the last one")
    parser.add_argument("--results", type=Path, default=Path("generator.json"), help="default: generator.json")
    parser.add_argument(
        "--from", dest="stored", type=Path, metavar="FILE", help="measure nothing: draw what FILE holds"
    )
    chosen = parser.parse_args(arguments)
    for name in (chosen.rows or "").split(",") if chosen.rows else ():
        if name not in ROWS:
            parser.error(f"--rows: there is no row {name}; there are {', '.join(ROWS)}")
    if chosen.rounds < 1 or chosen.duration < 0.05 or chosen.warm_up < 0:
        parser.error("--rounds is 1 or more, --duration 0.05 or more, --warm-up not negative")
    return chosen


def run_all(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the rows that were chosen; give what is to be stored."""
    rows = [ROWS[name] for name in (chosen.rows.split(",") if chosen.rows else ROWS)]
    cpus, turns = pick_cpus(chosen.server_cpu, chosen.driver_cpu), random.Random(chosen.seed)
    build()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        servers, _ = find(Path(temporary))
        for number in range(chosen.rounds):
            for row in rows:
                sides = list(SIDES)
                turns.shuffle(sides)
                for side in sides:
                    found = measure(row, side, servers[row.server], cpus, (chosen.duration, chosen.warm_up))
                    runs.append({"row": row.name, "round": number, "side": side, **found})
                    said = found.get("failed") or f"{found['messages'] / found['cpu']:,.0f} per CPU second"
                    print(f"round {number + 1} of {chosen.rounds}, {row.name}, {side}: {said}", file=sys.stderr)
    return {
        "schema": "echobench-generator/1",
        "machine": machine.describe(),
        "versions": machine.versions(ROOT, None),
        "options": {"rounds": chosen.rounds, "duration": chosen.duration, "warm_up": chosen.warm_up, "cpus": cpus},
        "titles": {row.name: row.title for row in rows},
        "runs": runs,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure or read, then print."""
    chosen = options(arguments)
    try:
        stored = json.loads(chosen.stored.read_text()) if chosen.stored else run_all(chosen)
        if not chosen.stored:
            chosen.results.write_text(json.dumps(stored, indent=1) + "\n")
        print(table(summary(stored["runs"]), stored["titles"]))
    except (MeasureError, OSError, ValueError, KeyError) as error:
        print(f"generator.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

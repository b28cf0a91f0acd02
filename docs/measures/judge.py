"""Whether `compare` says what an independent driver in C says of the same servers.

    python docs/measures/judge.py                        every load, 5 rounds of the driver, 10 of compare
    python docs/measures/judge.py --loads small,one --rounds 3 --duration 1
    python docs/measures/judge.py --from judge.json      draw the table again

For each load the driver (docs/measures/peers) measures each server in turn before and after `echobench compare` does,
on the same two CPUs, so that a slow drift of the machine meets both. The ratio of a round is a server's work per CPU
second to echobench's; under `one` it is that of the median times. A row agrees if the driver's ratio lies inside the
interval that compare prints, or compare refuses to give a headline. Rounds of the driver in which the host took more
than 2 % of the time are left out, as compare leaves out its own.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results_page.loads import Load
from results_page.ratios import interval, usable, work
from results_page.subjects import MeasureError, Subject, build, find
from run import measure, pick_cpus

LOADS = {
    # The name of compare's load: the same load for the driver, and the servers to judge it by.
    "small": (("tcp", "-c", "50"), ("c-epoll", "asyncio", "go")),
    "pipelined": (("tcp", "-c", "16", "-w", "16"), ("c-epoll", "asyncio", "go")),
    "one": (("tcp", "-c", "1", "-a"), ("c-epoll", "asyncio", "go")),
    "udp": (("udp", "-c", "16", "-w", "8"), ("c-mmsg", "asyncio", "go")),
    "large": (("tcp", "-c", "8", "-s", "65536"), ("c-epoll", "asyncio", "go")),
}
MOST_STEAL = 0.02


def command(subject: Subject) -> str:
    """Write a server's command for compare, which starts it in a shell of no kind."""
    parts = [str(subject.cwd / part) if (subject.cwd / part).is_file() else part for part in subject.command]
    return f"{subject.name}={' '.join(parts)}"


def by_driver(load: Load, subjects: list[Subject], cpus: tuple[int, int], chosen: argparse.Namespace) -> list[Any]:
    """Measure each server once, in random order; give the runs by name."""
    order = random.sample(subjects, len(subjects))
    return [{"server": each.name, **measure(load, each, cpus, chosen.duration, 0.5)} for each in order]


def by_compare(name: str, subjects: list[Subject], cpus: tuple[int, int], chosen: argparse.Namespace) -> list[Any]:
    """Run compare; give its rows."""
    with tempfile.TemporaryDirectory() as temporary:
        stored = Path(temporary) / "run.json"
        line = [sys.executable, "-m", "echobench", "compare", *(command(each) for each in subjects)]
        line += ["--load", name, "-R", str(2 * chosen.rounds), "-d", str(chosen.duration), "--json", str(stored), "-q"]
        line += ["--idle-connections", "0", "--count-calls", "0", "--extra-rounds", str(chosen.rounds)]
        line += ["--server-cpus", str(cpus[0]), "--load-cpus", str(cpus[1])]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if not stored.exists():
            raise MeasureError(f"compare failed: {done.stderr.strip()}")
        return list(json.loads(stored.read_text())["rows"])


def figure(load: str, run: dict[str, Any]) -> float:
    """Give what a run is judged by, where more is better: work per CPU second, or 1 / p50."""
    return 1.0 / float(run["p50_us"]) if load == "one" else work(run)


def ratios(load: str, rounds: list[list[dict[str, Any]]], name: str) -> list[float]:
    """Give a server's ratios to echobench, one for each undisturbed round of the driver."""
    found = []
    for runs in rounds:
        of = {run["server"]: run for run in runs if usable(run) and run["steal"] <= MOST_STEAL}
        if name in of and "ours" in of:
            found.append(figure(load, of[name]) / figure(load, of["ours"]))
    return found


def judged(load: str, rounds: list[list[dict[str, Any]]], row: dict[str, Any]) -> dict[str, Any]:
    """Say whether a row of compare agrees with the driver's rounds: *inside*, *refused*, *OUTSIDE* or *no figure*."""
    values = ratios(load, rounds, row["subject"])
    true = math.exp(sum(map(math.log, values)) / len(values)) if values else None
    if true is None:
        word = "no figure"
    elif row["ratio"] is None or row["low"] is None or not row["headline"] or row["verdict"] in ("too noisy", "void"):
        word = "refused"
    else:
        word = "inside" if row["low"] <= true <= row["high"] else "OUTSIDE"
    return {
        "load": load, "server": row["subject"], "driver": true, "driver_interval": interval(values),
        "compare": row["ratio"], "interval": [row["low"], row["high"]], "verdict": row["verdict"], "said": word,
        "rounds": len(values),
    }  # fmt: skip


def table(rows: list[dict[str, Any]], steal: float) -> str:
    """Write the rows as Markdown."""

    def pair(value: float | None, ends: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.3f} ({ends[0]:.3f}..{ends[1]:.3f})" if ends and ends[0] else f"{value:.3f}"

    lines = ["| load | server | driver in C | compare | verdict | the driver's is |"]
    lines.append("| --- | --- | --: | --: | --- | --- |")
    for row in rows:
        driver, ours = pair(row["driver"], row["driver_interval"]), pair(row["compare"], row["interval"])
        lines.append(f"| {row['load']} | {row['server']} | {driver} | {ours} | {row['verdict']} | {row['said']} |")
    clear = [row for row in rows if row["said"] in ("inside", "OUTSIDE")]
    inside = sum(row["said"] == "inside" for row in clear)
    refused = sum(row["said"] == "refused" for row in rows)
    lines.append(f"\n{inside} of {len(clear)} inside the interval, {refused} refused; steal up to {steal:.1%}.")
    return "\n".join(lines)


def main() -> int:
    """Measure or read, store, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--rounds", type=int, default=5, help="of the driver, half before and half after (default: 5)")
    parser.add_argument("--duration", type=float, default=1.0, help="seconds of each run (default: 1)")
    parser.add_argument("--json", type=Path, default=Path("judge.json"))
    parser.add_argument("--from", dest="stored", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    if chosen.stored:
        stored = json.loads(chosen.stored.read_text())
    else:
        stored = {}
        with tempfile.TemporaryDirectory() as temporary:
            build()
            found, _ = find(Path(temporary))
            cpus = pick_cpus(None, None)
            for name in chosen.loads.split(","):
                driver, servers = LOADS[name]
                load = Load(name, name, driver, "ours")
                subjects = [found[server] for server in servers if server in found]
                all_of_them = [found["ours"], *subjects]
                rounds = [by_driver(load, all_of_them, cpus, chosen) for _ in range(chosen.rounds // 2)]
                rows = by_compare(name, subjects, cpus, chosen)
                rounds += [by_driver(load, all_of_them, cpus, chosen) for _ in range(chosen.rounds - len(rounds))]
                stored[name] = {"rounds": rounds, "rows": rows}
                chosen.json.write_text(json.dumps(stored, indent=1))
                print(f"{name}: done", file=sys.stderr, flush=True)
    others = [(name, of["rounds"], row) for name, of in stored.items() for row in of["rows"]]
    judgements = [judged(*each) for each in others if each[2]["subject"] != "ideal"]
    steal = max(run.get("steal", 0.0) for of in stored.values() for runs in of["rounds"] for run in runs)
    print(table(judgements, steal))
    return 1 if any(row["said"] == "OUTSIDE" for row in judgements) else 0


if __name__ == "__main__":
    sys.exit(main())

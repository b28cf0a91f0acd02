"""What one echo costs where messages come alone: one connection, asked at random times, our server beside C and a loop.

    python docs/measures/few.py
    python docs/measures/few.py --rates 100,1000 --rounds 7 --before ../echobench-before
    python docs/measures/few.py --json few.json              every run is stored there before the table is made

peers/driver sends messages of 64 bytes on one connection at random times (Poisson), whether answers come or not. In
each round each server is started afresh on one CPU, in random order; the driver has another CPU. The cost is the
server's own processor time for each echo, less is better. Ratios to C are formed within each round. The loop is
peers/bare.py: what every server in Python pays. The host should have nothing else to do. Linux, two CPUs, a C compiler
and make.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path

import run
from results_page.endings import disturbance
from results_page.loads import Load
from results_page.ratios import Run, pairs
from results_page.subjects import MeasureError, build, find


def cost(run_: Run) -> float:
    """Give the server's processor time for each echo in microseconds."""
    return float(run_["server_cpu"] / run_["echoes"] * 1e6)


def row(runs: list[Run], server: str, load: Load) -> str:
    """Write one server's figures under one load."""
    both = pairs(runs, server, load.reference)
    if not both:
        return f"| {load.title} | {server} | no round can be used | | | 0 |"
    ratios = [cost(one) / cost(other) for one, other in both]
    costs, times = [cost(one) for one, _ in both], [one["p50_us"] for one, _ in both]
    return (
        f"| {load.title} | {server} | {statistics.median(costs):.1f} "
        f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f}) "
        f"| {statistics.median(times):.0f} | {len(costs)} |"
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="100,1000,10000", help="messages a second (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each server meets each rate (default: 5)")
    parser.add_argument("--duration", type=float, default=3.0, help="seconds that are counted in each run (default: 3)")
    parser.add_argument("--before", type=Path, metavar="DIR", help="another checkout of echobench, with its own .venv")
    parser.add_argument("--seed", type=int, default=1, help="where the random order begins (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to store every run")
    chosen = parser.parse_args()
    before = chosen.before.resolve() if chosen.before else None
    loads = [Load(rate, f"{rate} msg/s", ("tcp", "-r", rate), "c-epoll") for rate in chosen.rates.split(",")]
    runs: dict[str, list[Run]] = {load.name: [] for load in loads}
    wanted = {"ours", "bare", *(["ours-before"] if before else [])}
    turns = random.Random(chosen.seed)
    try:
        cpus = run.pick_cpus(None, None)
        build()
        with tempfile.TemporaryDirectory() as temporary:
            found, _ = find(Path(temporary), before)
            for number in range(chosen.rounds):
                for load in loads:
                    order = run.taking_part(load, found, wanted)
                    turns.shuffle(order)
                    for subject in order:
                        said = run.measure(load, subject, cpus, chosen.duration, 0.5)
                        runs[load.name].append({"round": number, "server": subject.name, **said})
                        if chosen.json:
                            chosen.json.write_text(json.dumps(runs, indent=1))
    except (MeasureError, OSError) as error:
        print(f"few.py: {error}", file=sys.stderr)
        return 1
    print("| load | server | µs of processor an echo | to C (least..greatest) | p50 in µs | rounds |")
    print("| --- | --- | --: | --: | --: | --: |")
    for load in loads:
        for server in ("c-epoll", "c-epoll-again", *sorted(wanted)):
            print(row(runs[load.name], server, load))
    return disturbance(each for some in runs.values() for each in some)


if __name__ == "__main__":
    sys.exit(main())

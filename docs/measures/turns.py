"""Small differences between servers: all of them run at the same time, and are asked in turn, briefly and often.

    python docs/measures/turns.py --loads connect-20,tcp-4 --before ../echobench-before
    python docs/measures/turns.py --loads tcp-16k --rounds 25 --starts 4
    python docs/measures/turns.py --json turns.json          every run is stored there before the table is made

run.py starts a server afresh for each run. That tells what a start brings with it, and takes seconds for each run, in
which a virtual machine becomes quicker or slower. Here the runs of a round follow each other within a second or two, on
the same two CPUs, so that their ratios vary less, and there can be many. The servers are started afresh a few times all
the same. One that waits for its turn sleeps. Work is echoes for each second of the server's own processor time; its
ratios to C are formed within each round. Linux, two CPUs, a C compiler and make.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path

import run
from results_page.endings import disturbance
from results_page.loads import LOADS, Load
from results_page.ratios import Run, interval, pairs, work
from results_page.subjects import MeasureError, build, find, serving

MORE = {
    "steady": Load(
        "steady", "TCP, 50 connections, 5,000 messages a second", ("tcp", "-c", "50", "-r", "5000"), "c-epoll"
    ),
    "steady-1000": Load(
        "steady-1000",
        "TCP, 1,000 connections, 5,000 messages a second",
        ("tcp", "-c", "1000", "-w", "100", "-r", "5000"),
        "c-epoll",
    ),
    "connect-1": Load("connect-1", "TCP, connect, echo, close; one at a time", ("connect", "-c", "1"), "c-epoll"),
    "tcp-1-16k": Load("tcp-1-16k", "TCP, 1 connection, 16 KiB", ("tcp", "-c", "1", "-s", "16384"), "c-epoll"),
    "tcp-2-16k": Load("tcp-2-16k", "TCP, 2 connections, 16 KiB", ("tcp", "-c", "2", "-s", "16384"), "c-epoll"),
}
"""Loads that are not on the results page."""


def row(runs: list[Run], server: str, load: Load) -> str:
    """Write one server's figures under one load."""
    both = pairs(runs, server, load.reference)
    if not both:
        return f"| {load.title} | {server} | no round can be used | | | | 0 |"
    ratios = [work(one) / work(other) for one, other in both]
    bounds = interval(ratios)
    within = "-" if bounds is None else "{:.2f}..{:.2f}".format(*bounds)
    costs, rates, times = zip(*((1e6 / work(one), one["rate"], one["p50_us"]) for one, _ in both), strict=True)
    return (
        f"| {load.title} | {server} | {statistics.geometric_mean(ratios):.2f} ({within}) "
        f"| {statistics.median(costs):.2f} | {statistics.median(rates):,.0f} | {statistics.median(times):.0f} "
        f"| {len(ratios)} |"
    )


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join([*LOADS, *MORE])
    parser.add_argument("--loads", default="connect-20,tcp-4", help=f"some of: {known} (default: %(default)s)")
    parser.add_argument("--servers", default="ours,bare", help="besides the one in C (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=16, help="how often each server is asked after a start")
    parser.add_argument("--starts", type=int, default=3, help="how often all servers are started afresh (default: 3)")
    parser.add_argument("--duration", type=float, default=0.3, help="seconds that are counted in each run")
    parser.add_argument("--before", type=Path, metavar="DIR", help="another checkout of echobench, with its own .venv")
    parser.add_argument("--seed", type=int, default=1, help="where the random order begins (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to store every run")
    return parser.parse_args()


def main() -> int:
    """Measure and print."""
    chosen = options()
    before = chosen.before.resolve() if chosen.before else None
    turns, known = random.Random(chosen.seed), {**LOADS, **MORE}
    try:
        if strange := [name for name in chosen.loads.split(",") if name not in known]:
            raise MeasureError(f"--loads: there is no load {strange[0]}; there are {', '.join(known)}")
        loads = [known[name] for name in chosen.loads.split(",")]
        runs: dict[str, list[Run]] = {load.name: [] for load in loads}
        cpus = run.pick_cpus(None, None)
        build()
        with tempfile.TemporaryDirectory() as temporary:
            found, absent = find(Path(temporary), before)
            wanted = run.pick_servers(chosen.servers, found, absent) | ({"ours-before"} if before else set())
            for start in range(chosen.starts):
                for load in run.measurable(loads, found, absent, named=True):
                    with contextlib.ExitStack() as up:
                        some = [
                            (each.name, up.enter_context(serving(each, load.transport, cpus[0])))
                            for each in run.taking_part(load, found, wanted)
                        ]
                        for number in range(chosen.rounds):
                            turns.shuffle(some)
                            for name, server in some:
                                said = run.ask(load, server, cpus, chosen.duration, 0.1)
                                place = start * chosen.rounds + number
                                runs[load.name].append({"round": place, "server": name, **said})
                            if chosen.json:
                                chosen.json.write_text(json.dumps(runs, indent=1))
    except (MeasureError, OSError) as error:
        print(f"turns.py: {error}", file=sys.stderr)
        return 1
    print("| load | server | work, to C (95 %) | µs of processor an echo | msg/s | p50 in µs | rounds |")
    print("| --- | --- | --: | --: | --: | --: | --: |")
    for load in loads:
        for server in ("c-epoll", "c-epoll-again", *sorted(wanted)):
            name = server.replace("c-epoll", load.reference)
            print(row(runs[load.name], name, load))
    return disturbance(each for some in runs.values() for each in some)


if __name__ == "__main__":
    sys.exit(main())

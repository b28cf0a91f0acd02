"""What --metrics costs a server under load: work per CPU second without it, with it, and asked once a second.

    python docs/measures/metrics_load.py
    python docs/measures/metrics_load.py --rounds 7 --duration 3 --loads tcp-50,udp-16

In each round each server is started afresh on one CPU, in random order; peers/driver loads it from another CPU. The
server without --metrics is measured twice in each round: how far it is from itself is the measurement's noise. Ratios
are formed within each round. Linux, two CPUs, a C compiler and make.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import random
import statistics
import sys
import threading
from collections.abc import Iterator

import run
from results_page.endings import disturbance
from results_page.loads import Load
from results_page.ratios import Run, usable, work
from results_page.subjects import ROOT, TWISTD, MeasureError, Subject, build, free_port

OFF = "without --metrics"
SERVERS = (OFF, f"{OFF}, again", "with --metrics", "with --metrics, asked once a second")
ASKED = SERVERS[-1]
COMMAND = (sys.executable, *TWISTD)


def row(runs: list[Run], load: Load, server: str) -> str:
    """Write one server's figures under one load, from the rounds in which it and the one without can be used."""
    rates, ratios = [], []
    for number in sorted({each["round"] for each in runs}):
        of = {each["server"]: each for each in runs if each["round"] == number and usable(each)}
        if server in of and OFF in of:
            rates.append(work(of[server]))
            ratios.append(rates[-1] / work(of[OFF]))
    if not rates:
        return f"| {load.title} | {server} | no round can be used | | 0 |"
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}..{max(ratios):.3f})"
    return f"| {load.title} | {server} | {statistics.median(rates):,.0f} | {spread} | {len(rates)} |"


@contextlib.contextmanager
def asking(port: int | None) -> Iterator[list[int]]:
    """Ask for the metrics once a second, if there is a port; give a list of the answers' sizes."""
    over, sizes = threading.Event(), []

    def ask() -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        while not over.is_set():
            try:
                client.request("GET", "/metrics")
                sizes.append(len(client.getresponse().read()))
                over.wait(1)
            except OSError:  # it does not serve yet
                client.close()
                over.wait(0.05)
        client.close()

    thread = threading.Thread(target=ask)
    if port is not None:
        thread.start()
    try:
        yield sizes
    finally:
        over.set()
        if port is not None:
            thread.join()


def measure(load: Load, server: str, cpus: tuple[int, int], duration: float) -> Run:
    """Run one server under one load; give the driver's figures."""
    port = free_port()
    options = () if server.startswith(OFF) else ("--metrics", f"127.0.0.1:{port}")
    subject = Subject(server, server, (*COMMAND, *options), "", cwd=ROOT)
    with asking(port if server == ASKED else None) as sizes:
        found = run.measure(load, subject, cpus, duration, 0.3)
    if server == ASKED and not sizes:
        found.setdefault("failed", "the metrics were not served")
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each server meets each load (default: 5)")
    parser.add_argument("--duration", type=float, default=1.0, help="seconds that are counted in each run (default: 1)")
    parser.add_argument(
        "--loads", default="tcp-50,udp-16", help="names with commas between them (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="where the random order begins (default: 1)")
    chosen = parser.parse_args()
    runs: dict[str, list[Run]] = {}
    turns = random.Random(chosen.seed)
    try:
        loads = run.pick_loads(chosen.loads, None)
        cpus = run.pick_cpus(None, None)
        os.sched_setaffinity(0, {cpus[1]})  # whoever asks for metrics is not on the server's CPU either
        build()
        for number in range(chosen.rounds):
            for load in loads:
                order = list(SERVERS)
                turns.shuffle(order)
                for server in order:
                    said = measure(load, server, cpus, chosen.duration)
                    runs.setdefault(load.name, []).append({"round": number, "server": server, **said})
    except (MeasureError, OSError) as error:
        print(f"metrics_load.py: {error}", file=sys.stderr)
        return 1
    print("| load | server | echoes for each second of its CPU | to the one without (least..greatest) | rounds |")
    print("| --- | --- | --: | --: | --: |")
    for load in loads:
        for server in SERVERS:
            print(row(runs[load.name], load, server))
    return disturbance(each for some in runs.values() for each in some)


if __name__ == "__main__":
    sys.exit(main())

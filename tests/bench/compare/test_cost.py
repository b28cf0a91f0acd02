"""What an echo costs: user time and kernel time apart, how exact that is, and who else was on the server's CPUs."""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
import numpy as np
import pytest
from rigs.compare_results import MACHINE, a_comparison, a_run, usage
from rigs.helpers import needs_linux, wait_for

from echobench.bench.compare.analysis.comparison import Comparison
from echobench.bench.compare.analysis.cost import cost, divided, ticks_per_second
from echobench.bench.compare.analysis.judge import judge, remarks
from echobench.bench.compare.meters import proctree
from echobench.bench.compare.meters.proctree import lost_most
from echobench.bench.compare.rows import cost as said

SECONDS = 10.0  # of a run's window


def spending(user, kernel, **changes):
    """What a server used whose echoes are 10,000 a second, at so many microseconds for each."""
    cpu = (user + kernel) * 1e-6 * 10_000
    return usage(cpu, user=SECONDS * user / 100, kernel=SECONDS * kernel / 100, **changes)


def test_user_and_kernel_time_of_an_echo():
    """The figures of the mission: who is how far from a server that does virtually nothing."""
    costs = {"ideal": (1.5, 8.5), "c": (0.2, 6.0), "node": (12.0, 18.0)}
    runs = [
        a_run(name, number, 10_000, usage=spending(*each)) for number in (1, 2, 3) for name, each in costs.items()
    ]  # fmt: skip
    for row in judge(a_comparison(runs, ("c", "node"))):
        user, kernel = costs[row.subject]
        assert row.cpu_per_echo == pytest.approx(1_000 * (user + kernel))
        assert row.user_per_echo == pytest.approx(1_000 * user)
        assert row.kernel_per_echo == pytest.approx(1_000 * kernel)
        assert row.user_share == pytest.approx(user / (user + kernel))
        assert 0 < row.user_share_error < 0.06


def test_it_is_of_the_sum_of_all_rounds():
    """In one round there are a few ticks; and a round that cannot be divided still counts for the whole."""
    runs = [a_run("mine", n, 10_000, usage=spending(u, 10.0 - u)) for n, u in ((1, 1.0), (2, 3.0))]
    runs.append(a_run("mine", 3, 10_000, usage=usage(0.1)))
    found = cost(runs, 100)
    assert (found.whole, found.user_share) == (pytest.approx(10_000), pytest.approx(0.2))
    assert found.user + found.kernel == pytest.approx(found.whole)
    assert cost([runs[2]], 100).user is None
    assert cost([a_run("mine", 1, usage=None)], 100) is None
    assert said(judge(a_comparison(runs))[1]).startswith(
        "an echo costs it 10.0 µs of CPU time: 2.00 µs in user space (20"
    )


def test_too_little_time_is_not_divided():
    assert divided([usage(user=0.05, kernel=0.1)], 100) == (None, None)
    share, error = divided([usage(user=0.0, kernel=0.3)], 100)
    assert share == 0
    assert error > 0.04, "none of thirty ticks is not none at all"


@pytest.mark.parametrize(("share", "seconds", "rounds", "ticks"), [
    (0.03, 1.0, 5, 250), (0.15, 3.0, 5, 250), (0.4, 0.5, 3, 100), (0.5, 0.1, 3, 1000)])  # fmt: skip
def test_how_exact_it_is(share, seconds, rounds, ticks):
    """Of simulated kernels, which sample at their ticks and cut to hundredths, 95 % are within the error."""
    random = np.random.default_rng(1)
    inside = 0
    for _ in range(1_000):
        usages = []
        for _ in range(rounds):
            count = round(seconds * ticks)
            user = seconds * random.binomial(count, share) / count
            begun = random.random(2)
            spent = np.asarray((user, seconds - user))
            ends = np.floor((begun + spent) * 100) - np.floor(begun * 100)
            usages.append(usage(user=ends[0] / 100, kernel=ends[1] / 100))
        found, error = divided(usages, ticks)
        inside += abs(found - share) <= error
    assert inside >= 930


def test_the_kernels_ticks_are_those_of_its_configuration():
    assert ticks_per_second({"cpu_accounting": {"CONFIG_HZ": "250"}}) == 250
    for unknown in ({}, {"cpu_accounting": None}, {"cpu_accounting": {"CONFIG_HZ": "not set"}}):
        assert ticks_per_second(unknown) == 100


def test_stored_runs_without_it_are_read():
    stored = a_comparison([a_run()]).as_dict()
    for name in ("user", "kernel", "others_worst"):
        del stored["runs"][0]["usage"][name]
    row = judge(Comparison.from_dict(stored))[0]
    assert row.cpu_per_echo == pytest.approx(95_000)
    assert row.user_share is None


@pytest.mark.parametrize(("kept", "noted"), [
    (None, False), ({"CONFIG_IRQ_TIME_ACCOUNTING": "not set"}, False), ({"CONFIG_IRQ_TIME_ACCOUNTING": "y"}, True),
    ({"CONFIG_IRQ_TIME_ACCOUNTING": "y", "tsc": "noirqtime"}, False)])  # fmt: skip
def test_softirqs_that_are_charged_to_nobody_are_noted(kept, noted):
    comparison = a_comparison([a_run()], environment={**MACHINE, "cpu_accounting": kept})
    assert any("to no process (CONFIG_IRQ_TIME_ACCOUNTING)" in note for note in remarks(comparison)) == noted


BURN = """
import os, sys, time
sys.stdin.readline()
end = time.process_time() + 0.8
file, room = open("/dev/zero", "rb", buffering=0), bytearray(1 << 22)
while time.process_time() < end:
    {work}
time.sleep(100)
"""


@needs_linux
@pytest.mark.parametrize(("work", "low", "high"), [
    ("for _ in range(10_000): pass", 0.8, 1.0), ("file.readinto(room)", 0.0, 0.4)])  # fmt: skip
def test_it_is_read_from_the_kernel(work, low, high):
    """Of one that counts, and of one whose time is spent in the kernel, which clears memory."""
    with subprocess.Popen([sys.executable, "-S", "-c", BURN.format(work=work)], stdin=subprocess.PIPE) as process:
        try:
            before = proctree.take(os.getpid(), ())
            process.stdin.write(b"go\n")
            process.stdin.flush()
            wait_for(lambda: proctree.used(before, proctree.take(os.getpid(), ())).cpu >= 0.8)
            used = proctree.used(before, proctree.take(os.getpid(), ()))
        finally:
            process.kill()
    assert used.user + used.kernel == pytest.approx(used.cpu, abs=0.1)
    assert low <= used.user / (used.user + used.kernel) <= high


@pytest.mark.parametrize(("busy", "own", "stayed", "lost"), [
    ({0: 0.95}, 0.9, {0: 0.9}, 0.05),  # one CPU: what is not the server's
    ({0: 1.0, 1: 0.3}, 1.0, {0: 1.0}, 0.3),  # the average was 0.15
    ({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, 3.6, {0: 0.6, 1: 1.0, 2: 1.0, 3: 1.0}, 0.4),  # a neighbour on one of four
    ({0: 1.0, 1: 0.3}, 1.0, {}, 0.15),  # nobody knows where the server's threads were: the average
    ({0: 1.0, 1: 0.2}, 0.7, {}, 0.3),  # it cannot be below what one CPU alone has, less all that the server used
    ({0: 0.5, 1: 0.5}, 2.0, {0: 1.0, 1: 1.0}, 0.0),  # clocks that disagree
    ({0: 0.6, 1: 0.4}, 1.0, {0: 1.0}, 0.0),  # it came back to the CPU where it was, and had been on the other
    ({}, 1.0, {}, 0.0),
])  # fmt: skip
def test_what_others_used_of_the_worst_cpu(busy, own, stayed, lost):
    assert lost_most(busy, own, stayed) == pytest.approx(lost)


def test_idle_cpus_do_not_hide_a_neighbour():
    """A quarter of one of four CPUs was 6 %, and let pass."""
    used = usage(3.0, busiest=9.0, others=2.5, others_worst=2.5)
    runs = [run for n in (1, 2, 3) for run in (a_run(number=n), a_run("mine", n, usage=used))]
    row = judge(a_comparison(runs, server_cpus=(0, 1, 2, 3)))[1]
    assert (row.verdict, row.ratio) == ("too noisy", None)
    assert row.why.startswith("other programs used 25% of one of the server's CPUs: stop them")
    old = [attrs.evolve(run, usage=attrs.evolve(run.usage, others_worst=None)) for run in runs]
    assert judge(a_comparison(old, server_cpus=(0, 1, 2, 3)))[1].verdict == "server-bound", "it is not known of these"

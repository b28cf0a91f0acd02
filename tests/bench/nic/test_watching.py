"""Watching: what is counted, what is shown meanwhile, and how it ends; by a clock of the test's own."""

from __future__ import annotations

import attrs
import pytest
from rich.console import Console
from rigs.blast_results import a_result
from rigs.cards import a_picture, counts_of, flows_of

from echobench.bench.load import LoadError
from echobench.bench.nic import live, watching
from echobench.bench.run.plan import Plan
from echobench.host.nic.counts import Counts


class Wire:
    """A clock, counters that grow with it, and packets that come."""

    def __init__(self, *rates, stop=None):
        self.now, self.rates, self.stop, self.open = 0.0, rates, stop, False

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        if self.stop is not None and self.now >= self.stop:
            raise KeyboardInterrupt

    def take(self, interface) -> Counts:
        assert interface == "eth0"
        return attrs.evolve(counts_of(*(int(rate * self.now) for rate in self.rates)), time=self.now)

    def sampler(self, interface):
        self.open = True
        return self

    def look(self):
        assert self.open

    def flows(self):
        return flows_of(64)

    def close(self):
        self.open = False


class Shown(list):
    ended = False

    def show(self, spread, left):
        self.append((spread.packets, round(left, 2)))

    def over(self):
        self.ended = True


def watch(wire, shown, **how):
    parts = {"take": wire.take, "sampler": wire.sampler, "clock": wire.clock, "sleep": wire.sleep, **how}
    return watching.watch(a_picture(), 2.0, shown, **parts)


def test_a_watch():
    wire, shown = Wire(1000, 0, 0, 0), Shown()
    found = watch(wire, shown)
    assert not found.interrupted
    assert found.spread.packets == 2000
    assert found.spread.verdict.name == "one queue"
    assert found.spread.flows.number == 64
    assert len(shown) == pytest.approx(2.0 / watching.FRAME, abs=2)
    assert shown == sorted(shown)
    assert shown.ended
    assert not wire.open


def test_ctrl_c_ends_it_with_what_is_known():
    wire, shown = Wire(1000, 0, stop=1.0), Shown()
    found = watch(wire, shown)
    assert found.interrupted
    assert 900 <= found.spread.packets <= 1100
    assert shown.ended
    assert not wire.open


def test_without_the_right_to_see_packets():
    def sampler(interface):
        raise PermissionError

    found = watch(Wire(1000, 0), Shown(), sampler=sampler)
    assert found.spread.flows is None
    assert "is not known" in found.spread.verdict.sentence


def test_our_own_load():
    """From many ports, over the family of the peer, and what comes in is its answers."""
    wire = Wire(1000, 1000)
    plan = watching.peer_plan("::1", 7007, "udp6", 2.0)
    assert (plan.flows, plan.transport, plan.family, plan.port) == (watching.FLOWS, "udp", 6, 7007)

    def run(given):
        assert given is plan
        wire.now = 2.0
        return a_result(plan={"transport": "udp"}, address="fd99::1")

    found = watching.load(a_picture(), plan, run=run, take=wire.take)
    assert found.spread.flows == ("udp6", watching.FLOWS, 1, 0)
    assert found.spread.verdict.name == "even"


def test_a_peer_that_does_not_answer():
    def run(given):
        return a_result(tally={"answered": 0, "answered_bytes": 0})

    with pytest.raises(LoadError, match=r"no answer came from 192\.0\.2\.1, UDP port 7: name an echo server"):
        watching.load(a_picture(), watching.peer_plan("192.0.2.1", None, "udp4", 1.0), run=run, take=Wire(1).take)


@pytest.mark.parametrize(
    ("transport", "address", "kind"), [("tcp", "192.0.2.1", "tcp4"), ("tls", "::1", "tcp6"), ("udp", "::1", "udp6")]
)
def test_what_comes_in_while_blast_runs(transport, address, kind):
    made = watching.of_run(
        a_picture(), counts_of(0), Plan(host="h", transport=transport, flows=9), address, Wire().take
    )
    assert made.flows == (kind, 9, 1, 0)


def test_lines_where_there_is_no_terminal():
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        shown = live.display(False, console)
        for _ in range(3):
            shown.show(watch(Wire(1000, 500), Shown()).spread, 1.0)
        shown.over()
    assert captured.get() == "  2.0 s  3,000 packets  by queue: 2000 1000\n", "at most a line a second"


def test_bars_on_a_terminal():
    console = Console(width=80, force_terminal=True, legacy_windows=False)
    with console.capture() as captured:
        shown = live.display(False, console)
        shown.show(watch(Wire(1000, 500), Shown()).spread, 1.0)
        shown.over()
    assert "rx-0" in captured.get()
    assert "##########" in captured.get()


def test_nothing_when_quiet():
    console = Console(force_terminal=True)
    with console.capture() as captured:
        shown = live.display(True, console)
        shown.show(watch(Wire(1000, 500), Shown()).spread, 1.0)
        shown.over()
    assert captured.get() == ""

"""A server with one fault at a time: blast and verify name it, and blast counts what the seed says."""

from __future__ import annotations

from functools import partial

import pytest
import pytest_twisted
from rigs.helpers import blocking, needs_linux, port_of
from rigs.misbehaving import changed, overtaken, strikes, swapped
from rigs.truth import counted
from rigs.undisturbed import repeated, unless_disturbed
from rigs.verifying import LONG, look

from echobench.bench.load import runner
from echobench.bench.run.plan import Plan
from echobench.bench.verify import verify
from echobench.bench.verify.report import summary
from echobench.host.marked import faults_at
from echobench.injection import flow as flows
from echobench.injection.dice import Dice
from echobench.injection.kinds import KINDS

pytestmark = [pytest.mark.slow, needs_linux]

LOOPBACK = ("127.0.0.1",)
COUNT = 200
SIZE = 64


@pytest.fixture
def run(blast, serve, monkeypatch):
    """Serve with a rule, load it, and give blast's tally and the server's counts."""
    monkeypatch.setattr(flows, "PATIENCE", 20.0)  # whatever the host does meanwhile

    def run(rule, transport, count=COUNT, **plan):
        service = serve(0, LOOPBACK, faults=[rule])
        plan = {"duration": 60.0, "timeout": 20.0, "size": str(SIZE), **plan}
        ran = blocking(blast, port_of(service, transport), transport=transport, count=count, limit=100.0, **plan)
        return ran.tally, {name: number for name, number in service.snapshot().faults.items() if number}

    return run


def indices(rule, fault, transport="tcp", number=COUNT):
    """The messages that a fault strikes, from 0 on."""
    return [at for at, strike in enumerate(strikes(rule, fault, number, transport)) if strike]


# UDP.


@pytest.mark.parametrize("rule", ["udp:none", "tcp:drop=100%,seed=1", "@1:drop=100%,seed=1", "reset=100%,seed=1"])
def test_a_rule_for_others_changes_nothing(run, rule):
    tally, faults = run(rule, "udp")
    assert counted(tally) == {"answered": COUNT}
    assert faults == {}


@repeated
def test_dropped_datagrams_are_unanswered(run):
    rule = "drop=3%,seed=5"
    tally, faults = run(rule, "udp", window=8, timeout=2.0)
    number = len(indices(rule, "drop", "udp"))
    assert 2 <= number <= 12
    assert faults == {"drop": number}
    with unless_disturbed():
        assert counted(tally) == {"answered": COUNT - number, "unanswered": number}


@pytest.mark.parametrize(
    ("rule", "fault", "named"),
    [
        ("duplicate=10%,seed=5", "duplicate", {"answered": COUNT, "duplicates": 1}),
        ("corrupt=0.1%/byte,seed=5", "corrupt", {"answered": -1, "corrupted": 1}),
        ("truncate=63", "truncate", {"truncated": 1}),
    ],
)
def test_datagrams_are_spoilt(run, rule, fault, named):
    tally, faults = run(rule, "udp", window=3)
    if fault == "corrupt":
        sizes = changed(rule, [SIZE] * COUNT)
        expected, number = sum(sizes), sum(map(bool, sizes))
    else:
        expected = number = COUNT if fault == "truncate" else len(indices(rule, fault, "udp"))
    assert number > 5
    assert faults == {fault: expected}
    every = {"answered": COUNT, "duplicates": number} if fault == "duplicate" else None
    assert counted(tally) == (
        every or {k: v for k, v in {"answered": COUNT - number, [*named][-1]: number}.items() if v}
    )


def test_datagrams_are_reordered(run):
    rule = "reorder=10%,seed=6"
    tally, faults = run(rule, "udp", window=4)
    number = overtaken(swapped(rule, COUNT))
    assert faults == {"reorder": number}
    assert counted(tally) == {"answered": COUNT, "reordered": number}


# Both.


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_delay_is_in_every_time(run, transport):
    tally, faults = run("delay=20ms,seed=1", transport, 20)
    assert counted(tally)["answered"] == 20
    assert tally.from_send.least >= 20e6
    assert faults == {"delay": 20}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_normal_delay_is_spread_as_the_seed_says(run, transport):
    """A message takes its delay at least, so of the times each rank is that rank of the delays at least."""
    from statistics import NormalDist

    tally, faults = run("delay=normal(20ms,5ms),seed=1", transport, 50)
    dice = Dice(1, transport, 1, "delay")
    drawn = sorted(NormalDist(20e6, 5e6).inv_cdf(dice()) for _ in range(50))
    assert counted(tally)["answered"] == 50
    assert faults == {"delay": 50}
    for percent in (10, 50, 90):
        assert tally.from_send.percentile(percent) >= drawn[50 * percent // 100 - 1] * 0.98
    assert tally.from_send.percentile(90) - tally.from_send.percentile(10) > 5e6


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_jitter_is_spread_as_the_seed_says(run, transport):
    tally, faults = run("jitter=40ms,seed=1", transport, 50)
    dice = Dice(1, transport, 1, "jitter")
    drawn = sorted(40e6 * dice() for _ in range(50))
    assert faults == {"jitter": 50}
    for percent in (10, 50, 90):
        assert tally.from_send.percentile(percent) >= drawn[50 * percent // 100 - 1] * 0.98


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_rate_is_not_exceeded(run, transport):
    tally, faults = run("rate=100kB/s,seed=1", transport, 20, size="2000")
    assert counted(tally)["answered"] == 20
    assert tally.from_send.least >= 20e6, "2,000 bytes take 20 ms"
    assert faults == {"rate": 20}


@repeated
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_stall_holds_one_message_up_each_time(run, transport):
    """One is under way when it begins, and no other is sent until it is over."""
    tally, faults = run("stall=200ms/400ms,seed=1", transport, None, duration=1.3)
    assert 2 <= faults["stall"] <= 5
    assert counted(tally)["answered"] == tally.intended
    with unless_disturbed():
        assert tally.from_send.percentile(100) >= 150e6
        assert tally.from_send.percentile(50) < 20e6


# TCP: a connection ends at the first byte that is not what it should be, or stands still.


def test_a_hole_in_a_stream_stands_still(run):
    rule = "drop=2%,seed=5"
    first = indices(rule, "drop")[0]
    tally, faults = run(rule, "tcp", duration=1.0, timeout=0.5)
    assert faults == {"drop": 1}
    assert counted(tally) == {"answered": first, "unanswered": 1, "connections": 1}


def test_bytes_that_come_twice_are_unexpected(run):
    rule = "duplicate=2%,seed=5"
    first = indices(rule, "duplicate")[0]
    tally, faults = run(rule, "tcp")
    assert faults == {"duplicate": 1}
    counts = counted(tally)
    assert counts.pop("unexpected", 0) + counts.pop("corrupted", 0) == 1
    assert counts == {"answered": first + 1, "connections": 1, "connections_lost": 1}


def test_a_changed_byte_in_a_stream(run):
    rule = "corrupt=0.05%/byte,seed=5"
    sizes = changed(rule, [SIZE] * COUNT, "tcp")
    first = next(at for at, number in enumerate(sizes) if number)
    tally, faults = run(rule, "tcp")
    assert faults == {"corrupt": sizes[first]}
    assert counted(tally) == {"answered": first, "corrupted": 1, "connections": 1, "connections_lost": 1}


def test_answers_cut_short_stand_still(run):
    tally, faults = run("truncate=63,seed=1", "tcp", duration=1.0, timeout=0.5)
    assert faults == {"truncate": 1}
    assert counted(tally) == {"unanswered": 1, "connections": 1}


@repeated
def test_streams_in_another_order(run):
    """The messages leave 20 ms apart, so that each is read alone. The first answer that comes too early is wrong."""
    rule = "reorder=10%,seed=6"
    first = indices(rule, "reorder")[0]
    assert first > 0
    tally, faults = run(rule, "tcp", model="open", rate=50.0, window=100)
    with unless_disturbed():
        assert faults == {"reorder": 1}
        counts = counted(tally)
        assert counts.pop("answered") == first
        assert counts.pop("corrupted", 0) + counts.pop("unexpected", 0) == 1, counts
        assert counts["connections_lost"] == 1


def test_a_client_that_waits_for_each_answer_is_only_delayed(blast, serve):
    """Nothing overtakes what it waits for, so the count is 0, and the times say it."""
    service = serve(0, LOOPBACK, faults=["reorder=100%,seed=1"])
    plan = {"duration": 60.0, "timeout": 20.0, "size": str(SIZE)}
    ran = blocking(blast, port_of(service, "tcp"), transport="tcp", count=3, limit=100.0, **plan)
    assert counted(ran.tally) == {"answered": 3, "connections": 1}
    assert ran.tally.from_send.least >= flows.PATIENCE * 1e9
    assert service.snapshot().faults == {"reorder": 0}


def test_a_close_after_so_many_bytes(run):
    tally, faults = run(f"close-after={50 * SIZE},seed=1", "tcp", flows=3)
    assert faults == {"close-after": 3}
    counts = counted(tally)
    assert counts.pop("refused", 0) <= 3, "what was sent to a closed connection"
    assert counts == {"answered": 150, "connections": 3, "connections_lost": 3}


def test_resets(run):
    """Each of five connections lives until the seed ends it."""
    rule = "reset=10%,seed=5"
    firsts = [strikes(rule, "reset", 1000, "tcp", flow).index(True) for flow in range(1, 6)]
    tally, faults = run(rule, "tcp", 2000, flows=5)
    assert faults == {"reset": 5}
    assert counted(tally) == {"answered": sum(firsts), "refused": 5, "connections": 5, "connections_lost": 5}


def test_blast_names_the_rule_of_a_server_on_this_host(serve):
    service = serve(0, LOOPBACK, faults=["delay=1ms"])
    plan = Plan(host="127.0.0.1", port=port_of(service), flows=1, count=5, duration=20.0, timeout=10.0)
    result = blocking(runner.run, plan)
    (verdict,) = [each for each in result.verdicts if each.name == "faults on purpose"]
    assert verdict.level == "warning"
    assert verdict.sentence.startswith("THE SERVER INJECTS FAULTS ON PURPOSE (delay=1ms): ")
    assert result.environment["faults"] == ["delay=1ms"]


# What verify says.


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_each_fault_is_named_by_verify(serve, kind):
    """Also those that break no clause: the server's mark says so."""
    service = serve(0, LOOPBACK, faults=[f"tcp:{kind.name}={kind.example}"])
    (rule,) = service.fault_rules()
    port = port_of(service)
    found = blocking(
        partial(verify, "127.0.0.1", port, families=(4,), transports=("tcp",), clauses=("tcp-empty",), timeout=LONG)
    )
    assert found.faults == (rule,)
    assert f"THE SERVER INJECTS FAULTS ON PURPOSE: {rule}." in summary(found)
    pytest_twisted.blockon(service.stopService())
    assert faults_at(port) == ()


@pytest.mark.parametrize(
    ("rule", "fault", "fails", "passes"),
    [
        ("drop=100%", "drop", ["udp-answer", "tcp-answer"], []),
        ("duplicate=100%", "duplicate", ["udp-once"], ["udp-answer"]),
        ("tcp:duplicate=100%", "duplicate", ["tcp-large"], ["udp-once"]),
        ("corrupt=100%/byte", "corrupt", ["udp-values", "tcp-values", "udp-answer"], ["udp-size-0", "tcp-empty"]),
        ("truncate=64", "truncate", ["udp-size-512", "udp-largest", "tcp-large"], ["udp-answer", "tcp-answer"]),
        ("delay=1000s", "delay", ["udp-answer", "tcp-prompt"], ["tcp-empty"]),
        ("delay=20ms,jitter=20ms", "jitter", [], ["udp-answer", "tcp-prompt", "tcp-half-close", "udp-burst"]),
        ("rate=1kB/s", "rate", ["udp-size-8192"], ["udp-size-1", "tcp-answer"]),
        ("stall=1000s/1001s", "stall", [], ["udp-answer", "tcp-answer"]),
        ("stall=1000s/1000.001s", "stall", ["tcp-large"], []),
        ("close-after=1kB", "close-after", ["tcp-large", "tcp-half-close"], ["tcp-answer", "udp-largest"]),
        ("reset=100%", "reset", ["tcp-answer"], ["tcp-empty", "udp-answer"]),
        ("reorder=100%", "reorder", ["tcp-chunks"], ["udp-answer", "tcp-answer"]),
    ],
)
def test_verify_names_it(serve, rule, fault, fails, passes):
    service = serve(0, LOOPBACK, faults=[f"{rule},seed=1"])
    for name in fails:
        assert blocking(look, name, port_of(service)).verdict == "FAIL", name
    for name in passes:
        outcome = blocking(look, name, port_of(service), timeout=LONG)
        assert outcome.verdict == "ok", outcome
    faults = service.snapshot().faults
    if fails or fault == "jitter":
        assert faults[fault] > 0
    assert {name for name, number in faults.items() if number} <= {fault, "delay", "discarded"}

"""What only the engine with columns does: trains, many connections at once, batches in which some are wrong."""

from __future__ import annotations

import errno
import socket
import sys
import time

import numpy as np
import pytest
from rigs import truth
from rigs.blasting import UNHURRIED, Blaster, RunFailedError
from rigs.helpers import needs_linux
from rigs.truth import TCP, UDP, counted, every
from rigs.undisturbed import repeated, unless_disturbed

pytestmark = needs_linux


@pytest.fixture
def blast():
    return Blaster("columns")


def gso(blast, behaviour, count=600, **plan):
    with UDP(behaviour) as server:
        ran = blast(server.port, transport="udp", gso=True, count=count, **{"size": "1200", "timeout": 1.0, **plan})
    assert ran.tally.intended == count
    return ran, server


@pytest.mark.parametrize("size", ["16", "1200", "1201", "30000"])
@pytest.mark.parametrize(("flows", "window"), [(1, 1), (1, 64), (3, 40)])
def test_trains(blast, size, flows, window):
    """The server answers datagram by datagram, however they came: 40 of 64 KiB together would be too many for it."""
    if size == "30000":
        window = min(window, 8)
    ran, server = gso(blast, truth.honest, size=size, flows=flows, window=window, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 600}
    assert (server.seen, len(server.peers)) == (600, flows)


def test_trains_with_losses(blast):
    ran, server = gso(blast, every(50, truth.drop), window=32, flows=2)
    assert counted(ran.tally) == {"answered": 588, "unanswered": 12}
    assert server.seen == 600


@pytest.mark.parametrize("position", [0, 7, 8, 15, 16, 1199])
def test_trains_with_a_wrong_byte(blast, position):
    ran, _ = gso(blast, every(100, truth.corrupt(position)), window=32)
    assert counted(ran.tally) == {"answered": 594, "corrupted": 6}


def test_trains_with_duplicates_and_cuts(blast):
    assert counted(gso(blast, every(59, truth.duplicate), window=16)[0].tally) == {"answered": 600, "duplicates": 10}
    assert counted(gso(blast, every(60, truth.cut(5)), window=16)[0].tally) == {"answered": 590, "truncated": 10}


def test_trains_on_a_schedule(blast):
    ran, _ = gso(blast, truth.honest, model="open", rate=5000.0, flows=2, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 600}
    assert ran.tally.lateness.total == ran.tally.from_intended.total == 600


def test_a_flood_of_trains(blast):
    with truth.Sink() as sink:
        ran = blast(sink.port, transport="udp", model="flood", gso=True, size="1000", count=900, flows=2)
    assert counted(ran.tally) == {"one_way": 900}
    assert {len(data) for data in sink.data} == {1000}


@repeated
def test_what_is_said_of_a_batch_is_what_the_sink_saw():
    """All of 64 datagrams are due at the same time and leave in one call: what is said holds for the last one too."""
    from echobench.bench.load.columns.udp_models import OpenUdp
    from echobench.bench.run.plan import Plan, shares

    with truth.Sink() as sink:
        plan = Plan(
            host="127.0.0.1", transport="udp", model="open", rate=1e9, count=64, warmup=0.0, cooldown=0.0, timeout=0.1
        )
        engine = OpenUdp(shares(plan)[0], ("127.0.0.1", sink.port), lambda now, tally: None)
        engine.open()
        engine.run(time.perf_counter_ns())
        engine.close()
    arrivals = np.diff(sink.arrivals)
    late = engine.tally.lateness
    assert (late.total, len(sink.arrivals)) == (64, 64)
    with unless_disturbed():
        assert late.greatest - late.least == pytest.approx(arrivals.sum(), rel=0.2, abs=40_000)


def test_a_datagram_that_is_too_large_for_any_train(blast):
    ran, _ = gso(blast, truth.honest, 4, size="65507", **UNHURRIED)
    assert counted(ran.tally) == {"answered": 4}


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize(("flows", "size"), [(300, "64"), (8, "65536"), (5, "65537"), (7, "3"), (20, "3")])
def test_connections(blast, flows, size, window):
    with TCP(truth.honest, int(size)) as server:
        ran = blast(server.port, flows=flows, size=size, window=window, count=1000, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 1000, "connections": flows}
    assert server.accepted == flows


def test_one_wrong_answer_in_a_batch_costs_its_neighbours_nothing(blast):
    with TCP(truth.at(500, truth.corrupt(33))) as server:
        ran = blast(server.port, flows=40, count=2000, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 1999, "corrupted": 1, "connections": 40, "connections_lost": 1}


def test_answers_of_one_flow_do_not_count_for_another():
    """A server that sends each answer to the flow that asked before: no byte is wrong, and no answer is right."""
    asked: list[tuple[str, int]] = []

    class Astray(UDP):
        def _send(self, answer, peer):
            asked.append(peer)
            if len(asked) > 1:
                super()._send(answer, asked[-2])

    with Astray() as server:
        ran = Blaster("columns")(server.port, transport="udp", flows=2, count=10, timeout=0.1, duration=5.0)
    tally = ran.tally
    assert tally.answered + tally.late + tally.unanswered == 10
    assert tally.unexpected > 0


def test_what_it_cannot_do_is_said():
    from echobench.bench.load.columns.engine import ColumnsLoad
    from echobench.bench.run.plan import Plan, shares

    def why(**plan):
        return ColumnsLoad.unavailable(shares(Plan(host="127.0.0.1", **plan))[0])

    assert why(transport="tls") == "it has no TLS"
    assert why(transport="tls", model="connect") == "it has no TLS"
    if sys.platform == "linux":
        assert why(transport="udp") is None


def test_nobody_there_is_a_sentence(blast):
    with truth.nobody(socket.SOCK_STREAM) as port, pytest.raises(RunFailedError, match="refuses connections"):
        blast(port, flows=3)


def test_rings_that_are_refused_after_all(blast, monkeypatch):
    """The trial had more luck: other processes of the run have made their rings meanwhile."""
    from echobench.bench.load import NoEngineError
    from echobench.bench.load.columns import tcp_rings
    from echobench.bench.load.columns.engine import ColumnsLoad
    from echobench.bench.load.worker import choose
    from echobench.bench.run.plan import Plan, shares

    def refuse(*sizes):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(tcp_rings, "make_rings", refuse)
    share = shares(Plan(host="127.0.0.1", port=7, transport="tcp", flows=20))[0]
    engine = ColumnsLoad(share, ("127.0.0.1", 7), lambda now, tally: None)
    with pytest.raises(NoEngineError, match="io_uring gives no ring for 20 connections: Cannot allocate") as caught:
        engine.open()
    engine.close()
    name, why, _ = choose(share, {"columns": str(caught.value)})
    assert name == "portable"
    assert why == f"columns cannot: {caught.value}"

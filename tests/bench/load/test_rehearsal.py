"""A rehearsal passes through everything that a run does, and no server sees it."""

from __future__ import annotations

import pytest
from rigs import truth
from rigs.blasting import UNHURRIED
from rigs.helpers import both_families, needs_linux
from rigs.truth import TCP, UDP, counted

from echobench.bench.load import rehearsal
from echobench.bench.run.plan import Plan, shares

pytestmark = needs_linux  # the servers ask it

MODELS = {
    "closed": {"model": "closed"},
    "window": {"model": "closed", "window": 20},
    "open": {"model": "open", "rate": 1000.0, "arrivals": "poisson"},
    "large": {"model": "closed", "size": "40000"},
}
COUNT = 40


@pytest.mark.parametrize("model", list(MODELS))
def test_over_udp(blast, model):
    with UDP(truth.honest) as server:
        ran = blast(server.port, transport="udp", count=COUNT, flows=2, rehearsed=True, **UNHURRIED, **MODELS[model])
    assert counted(ran.rehearsal) == {"answered": rehearsal.MESSAGES}
    assert counted(ran.tally) == {"answered": COUNT}
    assert (server.seen, len(server.peers)) == (COUNT, 2), "the server saw the run and nothing else"


@pytest.mark.parametrize("model", list(MODELS))
def test_over_tcp(blast, model):
    size = MODELS[model].get("size", "64")
    with TCP(truth.honest, int(size)) as server:
        ran = blast(server.port, count=COUNT, flows=2, rehearsed=True, **UNHURRIED, **MODELS[model])
    assert counted(ran.rehearsal) == {"answered": rehearsal.MESSAGES, "connections": 1}
    assert counted(ran.tally) == {"answered": COUNT, "connections": 2}
    assert server.accepted == 2


def test_connecting(blast):
    with TCP(truth.honest, 64) as server:
        ran = blast(server.port, model="connect", count=COUNT, flows=2, rehearsed=True, **UNHURRIED)
    assert counted(ran.rehearsal) == {"answered": rehearsal.MESSAGES, "connections": rehearsal.MESSAGES}
    assert counted(ran.tally) == {"answered": COUNT, "connections": COUNT}
    assert server.accepted == COUNT + 1, "the first shows whether it accepts any"


def test_a_flood_and_trains(blast):
    gso = blast.name == "columns"
    with truth.Sink() as sink:
        ran = blast(sink.port, transport="udp", model="flood", gso=gso, count=COUNT, rehearsed=True)
    assert counted(ran.rehearsal) == {"one_way": rehearsal.MESSAGES}
    assert counted(ran.tally) == {"one_way": COUNT}
    assert len(sink.data) == COUNT
    if gso:
        with UDP(truth.honest) as server:
            ran = blast(server.port, transport="udp", gso=True, window=30, count=COUNT, rehearsed=True, **UNHURRIED)
        assert counted(ran.rehearsal) == {"answered": rehearsal.MESSAGES}
        assert server.seen == COUNT


@both_families
def test_it_is_of_the_version_of_ip_of_the_run_and_sends_to_its_own_port(host):
    plan = Plan(host="server.example", transport="tls", insecure=True, flows=9, cpus=(0,), processes=3, machines=3)
    share, address = rehearsal.to_itself(shares(plan)[4], host)
    assert address == (host, share.plan.port)
    assert share.plan.sources == (host,)
    assert share.plan.source_ports == (share.plan.port, share.plan.port)
    assert (share.flows, share.first_flow, share.cpu, share.plan.transport) == (1, 0, None, "tcp")

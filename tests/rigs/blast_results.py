"""Results to test with: any at all, and good ones with something wrong in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import strategies as st
from rigs.cards import a_picture, counts_of, flows_of

from echobench import bench
from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import Moment, Process, Result, Verdict
from echobench.bench.run.tally import Tally
from echobench.host.nic.spread import spread

ENVIRONMENT = {"loopback": False, "command": ["echobench"], "echobench": "0.1.0", "mtu": None}
SCHEMA = json.loads((Path(bench.__file__).parent / "run" / "result.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

counts = st.integers(0, 1 << 40)
numbers = st.just(0.0) | st.floats(1e-9, 1e9)
words = st.text(max_size=20)


def plans():
    """Any plan that can be."""

    def made(transport, closed, flows, processes, **rest):
        model = {} if closed else {"model": "open", "rate": 1000.0}
        return Plan(host="h", transport=transport, flows=flows, processes=min(flows, processes), **model, **rest)

    return st.builds(
        made,
        st.sampled_from(["tcp", "udp", "tls"]),
        st.booleans(),
        st.integers(1, 50),
        st.integers(1, 8),
        window=st.integers(1, 64),
        size=st.sampled_from(["64", "16-1500", "64,512,1400"]),
        count=st.none() | st.integers(1, 10**6),
        cpus=st.lists(st.integers(0, 63), max_size=3).map(tuple),
        sources=st.lists(st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0"]), max_size=2).map(tuple),
        source_ports=st.none() | st.just((20000, 30000)),
        seed=st.integers(0, 9),
    )


def histograms():
    def made(values):
        histogram = Histogram()
        histogram.record(values)
        return histogram

    return st.builds(made, st.lists(st.integers(0, 1 << 42), max_size=8))


def tallies():
    fields = dict.fromkeys(("intended", "sent", "answered", "late", "refused", "unexpected", "connections"), counts)
    times = {name: histograms() for name in ("from_intended", "from_send", "lateness", "batches")}
    return st.builds(Tally, **fields, **times, cpu=numbers, busy=numbers, window=numbers)


def results():
    return st.builds(
        Result,
        started=words,
        plan=plans(),
        address=words,
        environment=st.just(ENVIRONMENT),
        tally=tallies(),
        processes=st.lists(
            st.builds(
                Process,
                index=counts,
                engine=words,
                why=words,
                cpu=st.none() | counts,
                rate=numbers,
                cpu_share=numbers,
                busy_share=numbers,
            ),
            max_size=3,
        ).map(tuple),
        moments=st.lists(
            st.builds(
                Moment,
                t=numbers,
                measured=numbers,
                rate=numbers,
                p50=st.none() | numbers,
                p99=st.none() | numbers,
                lost=st.integers(-5, 1 << 40),
            ),
            max_size=3,
        ).map(tuple),
        counters=st.none() | st.dictionaries(words, counts, max_size=3),
        failures=st.lists(words, max_size=2).map(tuple),
        cut_short=st.booleans(),
        verdicts=st.lists(
            st.builds(Verdict, name=words, level=st.sampled_from(["failure", "warning", "note"]), sentence=words),
            max_size=2,
        ).map(tuple),
        nic=st.none()
        | st.builds(
            lambda packets, flows: spread(a_picture(), counts_of(*packets, cpus=(5, 6)), flows),
            st.lists(counts, max_size=4),
            st.none() | st.builds(flows_of, st.integers(0, 1000)),
        ),
    )


def a_result(tally: dict[str, Any] | None = None, plan: dict[str, Any] | None = None, **changes: Any) -> Result:
    """A good run over a network, of 100,000 messages in 10 seconds, except for what is said."""
    number = 100_000
    made = Tally(
        **{
            "intended": number,
            "sent": number,
            "answered": number,
            "answered_bytes": 64 * number,
            "connections": 4,
            "cpu": 5.0,
            "busy": 6.0,
            "window": 10.0,
            **(tally or {}),
        }
    )
    is_open = (plan or {}).get("model") == "open"
    for histogram, value in ((made.from_intended, 120_000), (made.from_send, 100_000)):
        if made.answered and not histogram.total and (is_open or histogram is made.from_send):
            histogram.record(value, number - 1)
            histogram.record(10 * value)
    if made.sent and is_open and not made.lateness.total:
        made.lateness.record(20_000, number)
    made.batches.record(4, number // 4)
    process = Process(
        index=0,
        engine="columns",
        why="the fastest that works here",
        cpu=None,
        rate=made.answered / 10,
        cpu_share=made.cpu / made.window,
        busy_share=made.busy / made.window,
    )
    settings: dict[str, Any] = {
        "started": "2026-03-01T12:00:00+00:00",
        "plan": Plan(**{"host": "server.example", "port": 7007, "flows": 4, **(plan or {})}),
        "address": "192.0.2.1",
        "environment": ENVIRONMENT,
        "processes": (process,),
        **changes,
    }
    return Result(tally=made, **settings)

"""Rounds: their order, what fails in them and what goes on, with real servers and real load where it matters."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import attrs
import jsonschema
import pytest
from rigs.compare_results import a_run, synthetic
from rigs.helpers import needs_linux
from rigs.small_servers import command
from rigs.undisturbed import repeated, unless_disturbed

from echobench import bench
from echobench.bench.compare import profiles
from echobench.bench.compare.analysis import steadiness
from echobench.bench.compare.analysis.comparison import Calls, Comparison, Conformance, Memory, Subject, read
from echobench.bench.compare.analysis.judge import as_stored, judge
from echobench.bench.compare.live import Nobody, clock
from echobench.bench.compare.rounds import make, measure, turns
from echobench.bench.compare.server.lifecycle import Server, Setting
from echobench.bench.run.stored import ResultError

SCHEMA = json.loads((Path(bench.__file__).parent / "compare" / "analysis" / "comparison.schema.json").read_text())
SUBJECTS = [Subject(name=name, command="x {port}") for name in "abcd"]
LOADS = profiles.parse("small,udp")


def test_rounds_are_interleaved():
    """Each round has each subject under each load once, before the next one begins."""
    order = turns(SUBJECTS, LOADS, 5, 1)
    assert len(order) == 5 * 2 * 4
    for number in range(5):
        part = order[8 * number : 8 * number + 8]
        assert {turn.round for turn in part} == {number + 1}
        assert [turn.load.name for turn in part] == ["small"] * 4 + ["udp"] * 4
        for half in (part[:4], part[4:]):
            assert {turn.subject.name for turn in half} == set("abcd")
            assert [turn.place for turn in half] == [1, 2, 3, 4]


def test_the_order_is_drawn_anew_and_can_be_had_again():
    def names(seed):
        return [
            "".join(turn.subject.name for turn in turns(SUBJECTS, LOADS[:1], 60, seed)[4 * n :][:4]) for n in range(60)
        ]

    assert names(1) == names(1) != names(2)
    firsts = Counter(each[0] for each in names(1))
    assert len(set(names(1))) > 12, "of 24 orders that there are"
    assert set(firsts) == set("abcd")
    assert max(firsts.values()) < 30


def made(order, one):
    kept = []
    make(order, Setting(), Nobody(), kept.append, one)
    return kept


def test_what_fails_twice_is_not_tried_again():
    tried = []

    def one(turn, setting, note):
        tried.append((turn.subject.name, turn.load.name))
        run = a_run(turn.subject.name, turn.round)
        failed = turn.subject.name == "b" and turn.load.name == "small"
        return attrs.evolve(run, load=turn.load.name, **({"result": None, "failure": "no"} if failed else {}))

    kept = made(turns(SUBJECTS, LOADS, 4, 1), one)
    assert Counter(tried)["b", "small"] == 2
    assert Counter(tried)["b", "udp"] == Counter(tried)["a", "small"] == 4
    said = [run.failure for run in kept if (run.subject, run.load) == ("b", "small")]
    assert said == ["no", "no"] + ["not tried again after 2 failures"] * 2
    assert len(kept) == 32


def test_over_tls_goes_who_knows_of_it():
    subjects = [Subject(name="ideal", command="x {port}"), *SUBJECTS[:1], Subject(name="t", command="x {port} {proto}")]
    tried = []

    def one(turn, setting, note):
        tried.append(turn.subject.name)
        return a_run(turn.subject.name)

    kept = made(turns(subjects, profiles.parse("tls"), 1, 1), one)
    assert sorted(tried) == ["ideal", "t"]
    assert [run.failure for run in kept if run.subject == "a"] == ["not tried over TLS: its command has no {proto}"]


@pytest.fixture
def measured():
    """Run a small server under a short load."""

    def measured(how, load="one", **settings):
        chosen = profiles.timed(profiles.parse(load)[0], duration=0.4, warmup=0.1)
        turn = turns([Subject(name="x", command=command(how))], [chosen], 1, 1)[0]
        return measure(turn, Setting(start_timeout=20.0, **settings))

    return measured


@needs_linux
@repeated
@pytest.mark.parametrize("load", ["one", "udp", "connect"])
def test_a_run(measured, load):
    run = measured("udp" if load == "udp" else "good", load)
    assert (run.failure, run.troubles, run.output) == (None, (), ())
    assert run.result.plan.duration == 0.4
    assert 0 <= run.usage.busiest <= run.usage.cpu + 0.02
    assert 0 <= run.usage.first_half <= run.usage.cpu + 0.02
    assert 0 < run.usage.first_half_window < run.usage.window
    with unless_disturbed():
        assert run.result.tally.answered > 100
        assert run.usage.busiest > 0
        assert 0.3 < run.usage.window < 0.6
        assert run.usage.cpu < 0.6
        assert run.usage.switches > 10
        assert 0.3 < run.usage.first_half_window / run.usage.window < 0.7
        halves = steadiness.split(run.result.moments)
        assert all(sum(moment.measured for moment in half) > 0.1 for half in halves)


@needs_linux
@pytest.mark.parametrize(
    ("how", "failure", "output"),
    [
        ("exits", "it ended with status 3 before it answered", "the licence has expired"),
        ("late-exit", "it ended with status 7 during the run", "out of memory"),
        ("wrong", "it does not echo: 25 bytes were sent, and 25 other bytes came back", None),
    ],
)
def test_a_run_that_fails(measured, how, failure, output):
    load = "mine=--warmup 0 --duration 3 --timeout 200ms" if how == "late-exit" else "one"
    if how == "late-exit":
        turn = turns([Subject(name="x", command=command(how))], profiles.parse(load), 1, 1)[0]
        run = measure(turn, Setting(start_timeout=20.0))
    else:
        run = measured(how)
    assert run.failure == failure
    assert output is None or run.output[-1] == output
    assert judge(attrs.evolve(synthetic(1), runs=(run,), subjects=(Subject(name="x", command=""),), loads=(
        profiles.parse("mine=--size 64" if how == "late-exit" else "one")[0],)))[0].ratio is None  # fmt: skip


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("load", ["--flows 2", "--udp --flows 2"])
def test_one_that_ends_is_named_though_it_is_heard_of_late(monkeypatch, load):
    """Its connections have ended, or its port refuses, and its keeper has yet to say why."""
    real = Server._hear
    monkeypatch.setattr(Server, "_hear", lambda self, seconds: real(self, seconds) if seconds else True)
    chosen = profiles.parse(f"mine={load} --warmup 0 --duration 3 --timeout 200ms")
    how = command("late-exit-udp" if "udp" in load else "late-exit")
    run = measure(turns([Subject(name="x", command=how)], chosen, 1, 1)[0], Setting(start_timeout=20.0))
    assert run.failure == "it ended with status 7 during the run"


def test_an_address_that_nobody_serves():
    turn = turns([Subject(name="x", address="127.0.0.1:1")], profiles.parse("one"), 1, 1)[0]
    run = measure(turn, Setting(start_timeout=0.2))
    assert run.failure == "it did not echo over TCP on 127.0.0.1 port 1 within 0.2 s"


def whole():
    """A comparison with something in every field."""
    made = synthetic(1, rounds=3)
    runs = (
        *made.runs,
        attrs.evolve(made.runs[0], result=None, usage=None, failure="no", troubles=("odd",), output=("a", "b")),
    )
    return attrs.evolve(
        made,
        runs=runs,
        memory=(Memory(subject="mine", connections=5, before=1, after=9),),
        calls=(
            Calls(subject="ideal", load="small", calls=7, echoes=5),
            Calls(subject="mine", load="small", failure="it was not started here"),
        ),
        conformance=(Conformance(subject="mine", transport="tcp", failed=("a",)),),
        notes=("a note",),
    )


def test_what_is_stored_is_what_the_schema_says_and_comes_back(tmp_path):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    stored = json.loads(json.dumps(as_stored(whole()), allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(stored)
    (tmp_path / "c.json").write_text(json.dumps(stored))
    back = read(str(tmp_path / "c.json"))
    assert isinstance(back, Comparison)
    assert back.as_dict() == whole().as_dict()


def test_every_field_is_described():
    for field in SCHEMA["properties"].values():
        assert field["description"].endswith(".")
        for inner in field.get("items", field).get("properties", {}).values():
            assert inner["description"].endswith((".", "`"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is not JSON"),
        ("[]", "it is not a result of echobench compare"),
        ('{"schema": "echobench.compare/9"}', "its schema is 'echobench.compare/9', and this version reads"),
        ('{"schema": "echobench.blast/9"}', "its schema is 'echobench.blast/9'"),
        ('{"schema": "echobench.compare/1"}', "it is incomplete: 'started' is missing"),
        (json.dumps({**whole().as_dict(), "subjects": [{"colour": 1}]}), "it is damaged"),
    ],
)
def test_what_cannot_be_read(tmp_path, text, sentence):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ResultError) as caught:
        read(str(path))
    assert str(caught.value).startswith(f"{path} cannot be used: {sentence}")


def test_clock():
    assert [clock(each) for each in (0, 59.9, 61, 3600)] == ["0:00", "0:59", "1:01", "60:00"]

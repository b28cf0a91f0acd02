"""Subjects, loads and CPUs as the command line gives them."""

from __future__ import annotations

import re

import click
import pytest

from echobench.bench.compare import profiles
from echobench.bench.compare.analysis.comparison import Subject
from echobench.bench.compare.options import tolerance
from echobench.bench.compare.order import host_of
from echobench.bench.compare.server import placement
from echobench.bench.compare.server.subject import ideal, ideal_tls, parse, where, workers_of
from echobench.bench.run.plan import Plan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=serve {port}", Subject(name="a", command="serve {port}")),
        ("a-1.b=x --at={host}:{port}", Subject(name="a-1.b", command="x --at={host}:{port}")),
        ("a=h:7", Subject(name="a", address="h:7")),
        ("a=h 7", Subject(name="a", address="h:7")),
        ("a=[fe80::1%eth0] 7", Subject(name="a", address="[fe80::1%eth0]:7")),
        ("a=[::1]:7007", Subject(name="a", address="[::1]:7007")),
        ("a=sh -c 'x = {port}'", Subject(name="a", command="sh -c 'x = {port}'")),
    ],
)
def test_a_subject(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("serve {port}", "is not a subject: write 'name=command with {port}'"),
        ("=serve {port}", "is not a subject"),
        ("a=", "is not a subject"),
        ("a b=x {port}", "is not a subject"),
        ("a=./serve 7", "a: its command does not contain {port}: put it"),
        ("a=serve", "a: its command does not contain {port}: put it"),
        ("a=serve '{port}", "a: its command cannot be read: No closing quotation"),
        ("ideal=serve {port}", "taken by echobench's own server, which always takes part"),
    ],
)
def test_no_subject(text, sentence):
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse(text)
    assert sentence in str(caught.value)


def test_addresses():
    assert where("h:7") == ("h", 7)
    assert where("[::1]:7007") == ("::1", 7007)


def test_where_servers_listen():
    assert host_of(None, None) == host_of(None, 4) == host_of("127.0.0.1", 4) == "127.0.0.1"
    assert host_of(None, 6) == host_of("::1", 6) == "::1"
    assert host_of("name", None) == "name"
    assert host_of("localhost", 4) == "127.0.0.1"
    with pytest.raises(click.UsageError, match=r"--host 127\.0\.0\.1 has no IPv6 address, which -6 asks for"):
        host_of("127.0.0.1", 6)


def test_the_ideal_over_tls():
    command = ideal_tls(ideal()).command
    assert "--no-tcp --no-udp --tls-port {port}" in command
    assert "--certificate {certificate}" in command
    assert " --port" not in command


@pytest.mark.parametrize("number", [1, 8])
def test_the_ideal_with_workers(number):
    subject = ideal(number)
    assert workers_of(subject) == workers_of(ideal_tls(subject)) == number
    assert ("--workers 8" in subject.command) == (number == 8)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("twistd -n echobench --workers 4 --port {port}", 4),
        ("uvicorn it:app --port {port} --workers=12", 12),
        ("server {port} --workers auto", 1),
        ("server {port} --workers 0", 1),
        ("server {port} --workers-at 3", 1),
    ],
)
def test_how_many_workers_a_command_names(command, number):
    assert workers_of(parse(f"x={command}")) == number


def test_named_loads():
    small, udp = profiles.parse("small,udp")
    assert (small.name, small.plan.flows, small.plan.transport) == ("small", 50, "tcp")
    assert (udp.name, udp.plan.transport) == ("udp", "udp")
    for name in profiles.PROFILES:
        assert profiles.parse(name)[0].name == name


def test_a_load_of_ones_own():
    load = profiles.parse("mine=--connections 10 --size 1k,64 --rate 5k")[0]
    assert load.name == "mine"
    assert load.plan == Plan(host="127.0.0.1", flows=10, size="1024,64", model="open", rate=5000.0,
                             duration=3.0, warmup=0.5, cooldown=0.2)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tiny", "'tiny' is not a load: choose from small, large,"),
        ("small=--size 9", "'small' is already the name of a load"),
        ("mine=--size", "load mine: "),
        ("mine=--size 9 --udp", "load mine: a UDP message has 16 to"),
        ("mine=--port 9", "load mine: leave out --port, which the comparison sets"),
        ("mine=example.org", "load mine: leave out --host"),
        ("mine=--cpus 1", "load mine: leave out --cpus"),
    ],
)
def test_no_load(text, sentence):
    with pytest.raises(ValueError, match=r"\w") as caught:
        profiles.parse(text)
    assert sentence in str(caught.value)


def test_times():
    load = profiles.timed(profiles.parse("one")[0], duration=9.0, warmup=None)
    assert (load.plan.duration, load.plan.warmup) == (9.0, 0.5)


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("2.5 %", 0.025), ("0.05", 0.05), ("0", 0.0)])
def test_a_tolerance(text, value):
    assert tolerance(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5", "a tolerance is below 100 %, not '5'"),
        ("100%", "a tolerance is below 100 %, not '100%'"),
        *((text, f"{text!r} is not a share such as 5% or 0.05") for text in ("much", "-1%", "")),
    ],
)
def test_no_tolerance(text, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        tolerance(text)


@pytest.mark.parametrize(
    ("server", "load", "cores", "expected"),
    [
        ((), (), [(0,), (1,)], ((0,), (1,))),
        ((), (), [(0, 4), (1, 5), (2, 6), (3, 7)], ((0,), (1, 2, 3))),
        ((), (), [(n,) for n in range(16)], ((0,), (1, 2, 3))),
        ((1,), (), [(0,), (1,)], ((1,), (0,))),
        ((), (0,), [(0,), (1,)], ((1,), (0,))),
        ((0, 1), (), [(0,), (1,), (2,)], ((0, 1), (2,))),
        ((0,), (1,), [(0,), (1,), (2,)], ((0,), (1,))),
        ((0, 1), (), [(n,) for n in range(16)], ((0, 1), (2, 3, 4, 5, 6, 7))),
    ],
)
def test_places(server, load, cores, expected):
    assert placement.place(server, load, cores) == (*expected, [])


@pytest.mark.parametrize(
    ("server", "load", "cores", "expected", "note"),
    [
        ((), (), [(0,)], ((0,), (0,)), "share a CPU"),
        ((), (), [(0, 1)], ((0,), (1,)), "two threads of one core"),
        ((0,), (0,), [(0,), (1,)], ((0,), (0,)), "share a CPU"),
        ((0,), (2,), [(0, 2), (1, 3)], ((0,), (2,)), "two threads of one core"),
        ((), (), [], ((), ()), "cannot pin a process to a CPU"),
    ],
)
def test_places_that_are_not_apart(server, load, cores, expected, note):
    *places, notes = placement.place(server, load, cores)
    assert tuple(places) == expected
    assert note in notes[0]


def test_cores(tmp_path):
    for cpu, siblings in ((0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert placement.cores((0, 1, 2, 3), tmp_path) == [(0, 2), (1, 3)]
    assert placement.cores((0, 2, 3), tmp_path) == [(0, 2), (3,)]
    assert placement.cores((7, 8), tmp_path) == [(7,), (8,)]

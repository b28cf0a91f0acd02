"""No value of any option gives a traceback: each is taken, or one sentence says what is wrong, with status 1 or 2."""

from __future__ import annotations

import os
import socket

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echobench.bench.blast.command import blast
from echobench.bench.compare import command as compare_module
from echobench.bench.load import LoadError, runner
from echobench.bench.sweep.command import command as sweep
from echobench.bench.verify import run as verify_module
from echobench.bench.verify.command import verify
from echobench.errors import EchobenchError

COMMANDS = {
    "blast": (blast, ["127.0.0.1"]),
    "sweep": (sweep, ["127.0.0.1", "--limit", "p99<1ms"]),
    "compare": (compare_module.compare, ["mine=serve {port}"]),
    "verify": (verify, ["127.0.0.1"]),
}
VALUES = [
    "", " ", "-1", "0", "1", "1.5", "1e400", "nan", "inf", "-inf", "\u0663", "\uff11", "\u00b2", "1_0", "1\n", "9" * 15,
    "9" * 400, "9" * 5000, "\udcff", "x", "0x10", "1,2", "2-1", "0-0", "65535-65536", "999999999m", "1000g", "101%",
    "0%", "0s", "1h", "0.0000000001", "::1", "fe80::1%nosuch", "224.0.0.1", "255.255.255.255", "0.0.0.0", "[", "[::1",
    64 * "a", 300 * "a", 130 * "a.", "..", "/", "/dev/null", "/dev/zero", "/nowhere/x", "pipe", "junk", "deep", "bytes",
    "large", "small,small", "x=", "x=--rate", "x='", "x=--size 9999999999", "x=--ca pipe", "p99<1ms,,", "p0<1ms",
    "p\u0669<1ms", "max<999999999s", "loss<101%", "a=b:0", "a=127.0.0.1:99999", "a={port}", "a='{port}", "pipe.json",
    "127.0.0.1:0", "[::1]:x", ":7", "host:",
]  # fmt: skip
"""What numbers, times, sizes, addresses, names and files are not, or are not here."""


@pytest.fixture
def nothing_is_run(monkeypatch, tmp_path):
    """Everything up to the run is done, and no process is started. The working directory has odd files."""
    monkeypatch.chdir(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
        os.mkfifo("pipe.json")
    (tmp_path / "junk").write_text("{")
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\0")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)

    def stop(*args, **how):
        raise LoadError("it would be run")

    look_up = socket.getaddrinfo

    def numeric(host, port, family=0, kind=0, proto=0, flags=0, **named):
        """Ask no name server."""
        return look_up(host, port, family, named.get("type", kind), proto, flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", numeric)
    monkeypatch.setattr(runner, "WorkerProcess", stop)
    monkeypatch.setattr("echobench.bench.cluster.options.connected", stop)
    monkeypatch.setattr(compare_module, "compare_all", lambda *_, **__: stop_command())
    monkeypatch.setattr(verify_module, "_at", stop)


def stop_command():
    raise click.ClickException("it would be run")


def said(name, arguments):
    """Give what a command says about its arguments; any other exception than those for sentences is a fault."""
    command, _ = COMMANDS[name]
    try:
        command.main(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        return error.format_message()
    except (click.exceptions.Exit, EchobenchError) as error:
        return str(error)
    return ""


def options():
    for name, (command, _) in COMMANDS.items():
        for param in command.params:
            if isinstance(param, click.Argument) or not param.is_flag:
                yield pytest.param(name, param, id=f"{name}-{param.name}")


def arguments_with(name, param, value):
    usual = COMMANDS[name][1]
    if isinstance(param, click.Argument):
        return [*usual[1:], "--", value]
    tls = ["--tls"] if param.name in ("ca", "server_name") else []
    return [*usual, *tls, f"{next(each for each in param.opts if each.startswith('--'))}={value}"]


@pytest.mark.parametrize(("name", "param"), list(options()))
def test_no_value_gives_a_traceback(nothing_is_run, name, param, capsys):
    for value in VALUES:
        sentence = said(name, arguments_with(name, param, value))
        assert "\n" not in sentence, f"{value!r}: {sentence}"


PARSED = [
    pytest.param(param.values[0], param.values[1], id=param.id)
    for param in options()
    if not isinstance(param.values[1].type, click.Path)
    and not isinstance(param.values[1], click.Argument)
]  # fmt: skip


@pytest.mark.parametrize(("name", "param"), PARSED)
def test_no_text_gives_a_traceback(name, param):
    """The parsers alone: they give a value, or a sentence."""

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(max_size=30) | st.from_regex(r"[-+0-9.,eEkKmMgGs%p<= ]{0,14}", fullmatch=True))
    def check(text):
        try:
            param.type.convert(text, param, None)
        except click.UsageError as error:
            assert "\n" not in error.format_message()  # noqa: PT017 (there may be none)

    check()


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("blast", ["h", "--window", "1000g"], "1 flows with 1000000000000 messages each are more than the 10,000,000"),
        ("blast", ["h", "--flows", "10k", "--window", "1001"], "can be in flight: take a smaller --window"),
        ("blast", ["h", "--source", "224.0.0.1"], "224.0.0.1 is that of a group"),
        ("blast", ["h", "--source", "255.255.255.255"], "255.255.255.255 is that of a group"),
        ("blast", ["h", "--tls", "--server-name="], "the server's name is empty"),
        ("blast", ["--from", "pipe"], "pipe cannot be read: it is a directory, a pipe or a device, not a file"),
        ("blast", ["--from", "/dev/zero"], "/dev/zero cannot be read: it is a directory, a pipe or a device"),
        ("blast", ["--from", "large"], "large cannot be read: it is larger than 256 MiB"),
        (
            "sweep",
            ["h", "--limit", "p99<1ms", "--to-rate", "2g"],
            "--to-rate is at most 1,000,000,000 msg/s",
        ),
        ("compare", ["a=x {port}", "--duration", "0"], "duration is a number of seconds above 0, not 0"),
        ("compare", ["a=x {port}", "--warmup", "999999999m"], "warmup is a number of seconds, not 6e+10"),
        ("compare", ["a=x {port}", "--rounds", "1g"], "--rounds is at least 1 and at most 10000, not 1e+09"),
        ("compare", ["a=x {port}", "--extra-rounds", "1g"], "--extra-rounds is at least 0 and at most 10000"),
        ("compare", ["a=x {port}", "--idle-connections", "1g"], "--idle-connections is at least 0 and at most 60000"),
        (
            "compare",
            ["a=x {port}", "--start-timeout", "0"],
            "--start-timeout is at least 0.001 and at most 3600, not 0",
        ),
        ("compare", ["a=x {port}", "--count-calls", "999999999m"], "--count-calls is at least 0 and at most 3600"),
        ("compare", ["a=x {port}", "--host="], "--host is an address of this machine such as 127.0.0.1, not ''"),
        ("compare", ["a=x {port}", "--host", "localhost"], "--host is an address of this machine"),
        ("compare", ["a=x {port}", "--host", "192.0.2.77"], "--host is an address of this machine"),
        ("compare", ["a=127.0.0.1:99999"], "a: a port is a number from 1 to 65535, not 99999"),
        ("compare", ["pipe.json"], "pipe.json cannot be read: it is a directory, a pipe or a device"),
        ("verify", ["h", "--timeout", "999999999m"], "--timeout is a time above 0 and up to 3600 s, not 6e+10"),
    ],
)
def test_sentences(nothing_is_run, name, arguments, sentence):
    assert sentence in said(name, arguments)

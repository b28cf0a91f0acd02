"""Every two options of every command: they go together, or one sentence refuses them; none is dropped silently."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading

import attrs
import click
import pytest
from rigs.compare_results import synthetic
from rigs.helpers import LIMIT

from echobench import cli
from echobench.bench.blast.command import blast, make_plan
from echobench.bench.cluster import options as cluster
from echobench.bench.compare import command as compare_module
from echobench.bench.compare.command import compare
from echobench.bench.option import Option
from echobench.bench.run.plan import Plan
from echobench.bench.sweep.command import command as sweep
from echobench.bench.sweep.command import make_sweep
from echobench.bench.verify.command import verify

COMMANDS = {"blast": blast, "compare": compare, "sweep": sweep, "verify": verify}

TLS = {("--ca", "--tcp"), ("--ca", "--udp"), ("--insecure", "--tcp"), ("--insecure", "--udp"),
       ("--server-name", "--tcp"), ("--server-name", "--udp"), ("--ca", "--insecure")}  # fmt: skip
TRANSPORT = {("--tcp", "--udp"), ("--tcp", "--tls"), ("--udp", "--tls"), ("--gso", "--tcp"), ("--gso", "--tls")}
MODEL = set(itertools.combinations(("--rate", "--flood", "--connect", "--window"), 2))

MACHINES = {("--cluster", "--ssh"), ("--cluster-tls", "--ssh"), ("--cluster", "--ssh-python"),
            ("--cluster-tls", "--ssh-python")}  # fmt: skip

REFUSED = {
    "blast": {
        *MACHINES, *(("--nic", each) for each in ("--cluster", "--cluster-tls", "--ssh", "--ssh-python")),
        *TLS, *TRANSPORT, *MODEL,
        *(("--flood", each) for each in ("--tcp", "--tls", "--ca", "--insecure", "--server-name")),
        *(("--connect", each) for each in ("--udp", "--gso")),
        *(("--arrivals", each) for each in ("--flood", "--connect", "--window")),
        *(("--gso", each) for each in ("--ca", "--insecure", "--server-name")),
        ("--count", "--warmup"), ("--count", "--cooldown"),
    },
    "sweep": {*MACHINES, *TLS, *TRANSPORT, *(("--gso", each) for each in ("--ca", "--insecure", "--server-name"))},
    "compare": {
        *MACHINES,
        *(("--resume", each) for each in (
            "--load", "--duration", "--warmup", "--seed", "--server-cpus", "--load-cpus", "--host", "-4", "-6",
            "--ideal-workers", "--idle-connections", "--against", "--tolerance", "--time-tolerance")),
        ("--host", "-4"),  # as the address here is of IPv6
        # As the stored ideal has one worker.
        *(("--ideal-workers", each) for each in ("--against", "--tolerance", "--time-tolerance")),
        ("--precision", "--extra-rounds"), ("--max-time", "--extra-rounds"),
        # As the stored comparison was on no address of this machine, and --host cannot name one.
        *(("--resume", each) for each in ("--cluster", "--cluster-tls", "--ssh", "--ssh-python")),
    },
    "verify": {("--essential", "--connections"), ("--clause", "--essential"), ("--clause", "--udp")},
}  # fmt: skip
"""The pairs of options that are refused; all other pairs are taken."""

NEEDED = {
    "--ca": ["--tls"], "--insecure": ["--tls"], "--server-name": ["--tls"], "--gso": ["--udp"], "--flood": ["--udp"],
    "--arrivals": ["--rate", "7"], "--processes": ["--flows", "30"], "--tolerance": ["--against", "old.json"],
    "--time-tolerance": ["--against", "old.json"], "--cluster-tls": ["--cluster", "tls://h:8786"],
    "--ssh-python": ["--ssh", "h"],
}  # fmt: skip
"""What an option needs beside it, which is given unless the other of the pair takes its place."""

VALUES = {
    "--size": "100", "--source": "127.0.0.2", "--source-ports": "2000-60000", "--cpus": "0", "--engine": "portable",
    "--ca": "file", "--server-name": "x", "--arrivals": "poisson", "--limit": "p50<2s", "--precision": "7%",
    "--repeats": "5", "--load": "small", "--server-cpus": "0", "--load-cpus": "0", "--host": "::1",
    "--tolerance": "7%", "--time-tolerance": "7%", "--against": "old.json", "--resume": "half.json",
    "--from-rate": "3k", "--to-rate": "5M", "--flows": "30", "--rounds": "12", "--step-duration": "7", "--port": "70",
    "--json": "a.json", "--csv": "a.csv",
    "--reference": "ideal", "--clause": "tcp-half-close",
    "--nic": "lo", "--html": "a.html", "--png": "a.png", "--junit": "a.xml", "--count": "70",
    "--cluster": "tls://h:8786", "--cluster-tls": "file,file,file", "--ssh": "a,b", "--ssh-python": "python3.12",
}  # fmt: skip
UNTIL = {"--precision", "--max-time"}
"""Options of compare that need ``--rounds auto``."""

FROM = {"--from", "--list"}
"""Options that need a file of their own, or end the command, and have tests of their own."""

FIRST = {"blast": ["h"], "sweep": ["h", "--limit", "p99<1ms"], "compare": ["a=x {port}"], "verify": ["127.0.0.1"]}


def written(option):
    return next((each for each in option.opts if each.startswith("--")), option.opts[0])


def own(command):
    return [each for each in COMMANDS[command].params if isinstance(each, Option) and written(each) not in FROM]


class TakenError(Exception):
    """All options were taken, and the run would begin."""


@pytest.fixture
def taken(monkeypatch, tmp_path):
    """Say whether a command takes its arguments, and what it would run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    stored = synthetic(1)
    (tmp_path / "old.json").write_text(json.dumps(stored.as_dict()))
    half = attrs.evolve(stored, runs=stored.runs[:4], cut_short=True)
    (tmp_path / "half.json").write_text(json.dumps(half.as_dict()))
    monkeypatch.setattr("echobench.bench.compare.unfinished.differences", lambda *_: {})

    def stop(*args, **how):
        raise TakenError

    monkeypatch.setattr("echobench.bench.load.runner.run", stop)
    monkeypatch.setattr("echobench.bench.cluster.options.connected", stop)
    monkeypatch.setattr("echobench.bench.blast.command.look", lambda nic: None)  # which not every system can
    monkeypatch.setattr("echobench.bench.blast.command.counts.take", lambda nic: None)
    monkeypatch.setattr(compare_module, "compare_all", stop)
    monkeypatch.setattr("echobench.bench.verify.command.make", stop)
    monkeypatch.setattr("echobench.bench.sweep.command.sweep", stop)

    def taken(command, *arguments):
        try:
            COMMANDS[command].main(list(arguments), prog_name=command, standalone_mode=False)
        except TakenError:
            return None
        except click.UsageError as error:
            return error.format_message()
        raise AssertionError("it neither ran nor was refused")

    return taken


def arguments(command, *options):
    names = {written(each) for each in options}
    made = [] if "--resume" in names else list(FIRST[command])
    for each in options:
        value = "auto" if written(each) == "--rounds" and names & UNTIL else VALUES.get(written(each), "7")
        made += [written(each)] if each.is_flag else [written(each), value]
    if command == "compare" and names & UNTIL and "--rounds" not in names:
        made += ["--rounds", "auto"]
    if command == "compare" and names & {each for pair in MACHINES for each in pair} and "--host" not in names:
        made += [] if "--resume" in names else ["--host", "127.0.0.1" if "-4" in names else "::1"]
    for name in names:
        rest = NEEDED.get(name, []) if command != "sweep" or name != "--arrivals" else []
        if (
            rest
            and rest[0] not in names
            and not {tuple(sorted((rest[0], each))) for each in names}
            & {tuple(sorted(pair)) for pair in REFUSED[command]}
        ):
            made += rest if rest[0] not in made else []
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_every_two_options(command, taken):
    """Exactly those of the table are refused; an option that is new has to be thought of here."""
    wrong = {tuple(sorted(pair)) for pair in REFUSED[command]}
    for one in own(command):
        assert taken(command, *arguments(command, one)) is None, written(one)
    found = set()
    for pair in itertools.combinations(own(command), 2):
        if sentence := taken(command, *arguments(command, *pair)):
            assert "\n" not in sentence
            found.add(tuple(sorted(map(written, pair))))
    assert found == wrong


def test_what_is_taken_changes_the_run(taken):
    """Beside any other option that it goes with, each option of blast and sweep has its effect on the plan."""
    output = {"quiet", "json", "csv", "html", "png", "nic", "stored", "port", "tcp", *cluster.NAMES}
    for command, make in (("blast", make_plan), ("sweep", make_sweep)):
        wrong = {tuple(sorted(pair)) for pair in REFUSED[command]}
        params = [each for each in own(command) if each.name not in output]

        def run(*options, command=command, make=make):
            ctx = COMMANDS[command].make_context(command, arguments(command, *options))
            return make({name: value for name, value in ctx.params.items() if name not in output - {"tcp"}}, None)

        for one, other in itertools.permutations(params, 2):
            pair = tuple(sorted((written(one), written(other))))
            needs = {(each, NEEDED.get(each, [None])[0]) for each in pair}
            if pair not in wrong and not needs & {pair, pair[::-1]} and {one.name, other.name} != {"four", "six"}:
                assert run(one, other) != run(one), pair


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["old.json", "--html", "a"],
            "stored results are shown as a table, and --html is for comparisons that",
        ),
        (["old.json", "--rounds", "3"], "--rounds is for comparisons that are run"),
        (["old.json", "-4"], "-4 is for comparisons that are run"),
        (["a=x {port}", "--idle-connections", "9", "--load", "udp"], "--idle-connections has no effect: no load is"),
        (["a=x {port}", "--load", "x=--html f"], "load x: leave out --html, which the comparison sets"),
        (["a=x {port}", "--load", "x=--window 2 --rate 3"], "load x: --rate and --window exclude each other"),
    ],
)
def test_sentences_of_compare(taken, arguments, sentence):
    assert sentence in taken("compare", *arguments)


def test_a_report_and_a_file_do_not_mix(taken):
    assert "both go to standard output" in taken("verify", "h", "--tap", "--json", "-")


def test_times_of_a_load_of_ones_own_hold(monkeypatch):
    orders = []
    monkeypatch.setattr(compare_module, "compare_all", lambda order, *_: orders.append(order) or synthetic(1))
    for more in ([], ["--duration", "2"]):
        words = ["a=x {port}", "--load", "x=--duration 9", "--load", "one", *more]
        assert compare.main(words, standalone_mode=False) == 0
    assert [[load.plan.duration for load in order.loads] for order in orders] == [[9.0, 3.0], [2.0, 2.0]]


def test_a_window_makes_a_stored_run_closed():
    stored = Plan(host="a", model="open", rate=5.0)
    options = dict.fromkeys(("host", "port", "four", "six"), None)
    assert make_plan({**options, "window": 4}, stored) == Plan(host="a", window=4)


def test_one_letter_has_one_meaning():
    """Over all commands, and no letter twice in one."""
    meaning = {}
    for command in COMMANDS.values():
        for option in command.params:
            for letter in option.opts:
                if isinstance(option, Option) and len(letter) == 2:
                    first = meaning.setdefault(letter, option)
                    assert {first.name, option.name} <= {option.name}, letter
    assert not {"-h", "-V"} & set(meaning)


@pytest.fixture
def program(monkeypatch, capsys):
    """Run the command in this process, and give its status and what it wrote to standard error."""

    def program(*words, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["echobench", *words])
        monkeypatch.setattr("echobench.bench.printing.prepare", lambda: None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr()

    return program


@pytest.mark.parametrize("command", [[], *([each] for each in COMMANDS)])
def test_short_help(program, command):
    status, said = program(*command, "-h")
    assert (status, said.out.startswith("Usage: echobench")) == (0, True)


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        (["blast", "h"], {"ECHOBENCH_BLAST_RATE": "soon"}, "(ECHOBENCH_BLAST_RATE): 'soon' is not a number"),
        (["blast", "h"], {"ECHOBENCH_BLAST_UPD": "1"}, "the environment variable ECHOBENCH_BLAST_UPD names no option"),
        (
            ["blast", "h", "--window", "2"],
            {"ECHOBENCH_BLAST_RATE": "5"},
            "ECHOBENCH_BLAST_RATE (for --rate) and --window exclude each other",
        ),
        (["sweep", "h"], {"ECHOBENCH_SWEEP_LIMIT": "p99"}, "'p99' is not a limit"),
        (["compare", "a=x {port}"], {"ECHOBENCH_COMPARE_LOAD": "tiny"}, "'tiny' is not a load"),
        (["compare", "a=x {port}"], {"ECHOBENCH_COMPARE_LOAD": "x=--flows 0 --size 9"}, "load x: flows is at least 1"),
        (["verify", "h"], {"ECHOBENCH_VERIFY_TIMEOUT": "0"}, "--timeout is a time above 0"),
        (["blast", "--"], {"ECHOBENCH_BLAST_FROM": "/nowhere"}, "(ECHOBENCH_BLAST_FROM): File '/nowhere' does not"),
    ],
)
def test_the_environment(program, words, environment, sentence):
    status, said = program(*words, **environment)
    assert (status, sentence in said.err) == (2, True), said.err


def test_the_command_line_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("ECHOBENCH_BLAST_FLOWS", "5")
    monkeypatch.setenv("ECHOBENCH_BLAST_UDP", "1")
    monkeypatch.setenv("ECHOBENCH_BLAST_SOURCE", "127.0.0.2 127.0.0.3")
    ctx = blast.make_context("blast", ["h", "--flows", "6"], auto_envvar_prefix="ECHOBENCH_BLAST")
    assert (ctx.params["flows"], ctx.params["udp"]) == (6, True)
    assert ctx.params["sources"] == ("127.0.0.2", "127.0.0.3")


def completed(shell, *words, last=""):
    """Give the completions of a word, as the shell's function gets them."""
    line = " ".join(["echobench", *words, last])
    environment = {
        **os.environ, "_ECHOBENCH_COMPLETE": f"{shell}_complete", "COMP_WORDS": line,
        "COMP_CWORD": last if shell == "fish" else str(len(words) + 1),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "echobench"], env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.stderr == ""
    return done.stdout.split("\n")


def test_completion():
    assert completed("bash", last="sw") == ["plain,sweep", ""]
    assert completed("bash", "compare", "--load", last="ud") == ["plain,udp", "plain,udp-large", "plain,udp-trains", ""]
    assert completed("bash", "compare", "--load", last="one,udp-l") == ["plain,one,udp-large", ""]
    assert completed("bash", "compare", last="mine") == ["plain,mine=", "file,mine", ""]
    assert completed("bash", "blast", last="--arr") == ["plain,--arrivals", ""]
    assert completed("fish", "compare", "--load", last="pipel")[0].startswith("plain,pipelined\t16 connections")
    assert "a subject: NAME='COMMAND with {port}' or NAME=HOST:PORT" in completed("zsh", "compare", last="mine")


class Echoes(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)


@pytest.fixture
def echo_server():
    """Serve in threads, and give the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echoes) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("command", ["blast", "sweep", "verify"])
def test_ctrl_c_is_130_and_the_partial_result_is_stored(command, echo_server, tmp_path):
    path = tmp_path / "r.json"
    more = {
        "blast": ["--duration", "60", "--interval", "0.1"],
        "sweep": ["--limit", "p50<1s,loss<90%", "--warmup", "0", "--step-duration", "0.4", "--from-rate", "1k"],
        "verify": ["--tcp"],
    }[command]
    process = subprocess.Popen(
        [sys.executable, "-m", "echobench", command, f"127.0.0.1:{echo_server}", "--json", str(path), *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        begun = {"blast": "answered", "sweep": "   1  ", "verify": "2/"}[command]
        for line in process.stderr:
            if begun in line:
                break
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert said
    assert json.loads(path.read_text())

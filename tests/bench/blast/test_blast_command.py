"""The command: from options to a plan, what is wrong with them, and what it stores and says."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from rigs.blast_results import a_result
from rigs.helpers import LIMIT
from rigs.places import RIGS

from echobench.bench.blast import command as module
from echobench.bench.blast.command import blast
from echobench.bench.blast.options import SECTIONS
from echobench.bench.cluster import options as cluster
from echobench.bench.load import LoadError, runner
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import read
from echobench.bench.run.verdicts import judge


@pytest.fixture
def planned(monkeypatch):
    """Give what the command would run, and pretend that it went well."""
    seen = []

    def run(plan, progress=None):
        seen.append(plan)
        result = a_result()
        object.__setattr__(result, "plan", plan)
        return result

    monkeypatch.setattr(runner, "run", run)

    def planned(*options):
        done = CliRunner().invoke(blast, options, prog_name="blast")
        assert done.exit_code == 0, done.output
        return seen.pop()

    return planned


def refused(*options):
    """Give the status and the sentence."""
    done = CliRunner().invoke(blast, options, prog_name="blast", terminal_width=200)
    assert "Traceback" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stderr.rpartition("Error: ")[2].strip()


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("", {}),
        ("--port 7007 --tcp", {"port": 7007}),
        ("7007", {"port": 7007}),
        ("7007 --port 7007", {"port": 7007}),
        ("-4", {"family": 4}),
        ("-6", {"family": 6}),
        ("-4 -6", {}),
        ("--udp", {"transport": "udp"}),
        ("--tls --insecure --server-name x", {"transport": "tls", "insecure": True, "server_name": "x"}),
        ("--connections 10k", {"flows": 10_000}),
        ("--flows 1.5k -w 8", {"flows": 1500, "window": 8}),
        ("--rate 1M", {"model": "open", "rate": 1e6}),
        ("--rate 0.5 --arrivals poisson", {"model": "open", "rate": 0.5, "arrivals": "poisson"}),
        ("--udp --flood --gso", {"transport": "udp", "model": "flood", "gso": True}),
        ("--connect", {"model": "connect"}),
        ("--size 16K", {"size": "16384"}),
        ("--size 64-1k", {"size": "64-1024"}),
        ("--size 64,512", {"size": "64,512"}),
        ("-d 2m --warmup 0 --cooldown 0", {"duration": 120.0, "warmup": 0.0, "cooldown": 0.0}),
        ("-d .5 --timeout 500ms --interval 0.1", {"duration": 0.5, "timeout": 0.5, "interval": 0.1}),
        ("--count 1M --seed 0", {"count": 1_000_000, "seed": 0}),
        ("--source 127.0.0.2 --source 127.0.0.3", {"sources": ("127.0.0.2", "127.0.0.3")}),
        ("--source-ports 20000-30000", {"source_ports": (20000, 30000)}),
        ("--source-ports 20000", {"source_ports": (20000, 20000)}),
        ("-c 4 --cpus 1,2-3", {"flows": 4, "cpus": (1, 2, 3), "processes": 3}),
        ("-c 4 --cpus 1,2-3 --processes 2", {"flows": 4, "cpus": (1, 2, 3), "processes": 2}),
        ("--engine portable --quiet", {"engine": "portable"}),
    ],
)
def test_options(planned, options, settings):
    assert planned("server", *options.split()) == Plan(host="server", **settings)


@pytest.mark.parametrize(
    ("words", "host", "port"),
    [
        ("server:7007", "server", 7007),
        ("::1", "::1", 7),
        ("::1 7007", "::1", 7007),
        ("[::1]", "::1", 7),
        ("[::1] 7007", "::1", 7007),
        ("[::1]:7007", "::1", 7007),
        ("[fe80::1%eth0]:7007", "fe80::1%eth0", 7007),
        ("fe80::1%eth0 -p 7007", "fe80::1%eth0", 7007),
    ],
)
def test_hosts_and_ports(planned, words, host, port):
    assert planned(*words.split()) == Plan(host=host, port=port)


def test_the_family_of_a_stored_run_can_be_changed(planned, tmp_path):
    path = str(tmp_path / "r.json")
    assert planned("server", "-6", "--json", path).family == 6
    assert planned("--from", path).family == 6
    assert planned("--from", path, "-4").family == 4
    assert planned("--from", path, "-4", "-6").family is None
    assert planned("--from", path, "other:9") == Plan(host="other", port=9, family=6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "no server to measure: give a HOST"),
        ("h --udp --tls", "--udp and --tls exclude each other: choose one"),
        ("h --rate 5 --connect", "--rate and --connect exclude each other"),
        ("h --flood", "a flood is one-way, which needs UDP: add --udp"),
        ("h --port 0", "port is at least 1, not 0"),
        ("h --port many", "'many' is not a number such as"),
        ("h --port 7.5", "'7.5' is not a whole number"),
        ("h --port -7", "'-7' is not a number"),
        ("h --rate 1e3", "'1e3' is not a number such as 2500, 10k or 1.5M"),
        ("h --duration soon", "'soon' is not a time such as"),
        ("h --duration 0", "duration is a number of seconds above 0"),
        ("h --size big", "'big' is not a size in bytes"),
        ("h --size 1-2-3", "'1-2-3' is not a size in bytes"),
        ("h --udp --size 64K", "a UDP message has 16 to 65527 bytes, not 65536"),
        ("h --cpus 3-1", "'3-1' is not a list of CPUs"),
        ("h --cpus x", "'x' is not a list of CPUs"),
        ("h --source-ports x", "'x' is not a range of ports"),
        ("h --source nowhere", "a source is an address of this machine, not 'nowhere'"),
        ("h --engine fast", "'fast' is not one of"),
        ("h --tls --ca /nowhere", "File '/nowhere' does not exist"),
        ("h --insecure", "are for TLS: add --tls"),
        ("h --from /nowhere", "File '/nowhere' does not exist"),
        ("h --json /", "--json: / cannot be written: it is a directory"),
        ("h --csv /nowhere/x", "--csv: /nowhere/x cannot be written: No such file or directory"),
        ("127.0.0.1 --udp --size 65508", "a datagram over IPv4 has at most 65507 bytes, not 65508"),
        ("h g", "a port is a number from 1 to 65535, not g"),
        ("h:0", "a port is a number from 1 to 65535, not 0"),
        ("h:7 --port 8", "h is given with two ports, 7 and 8: give one"),
        ("a:b:c", "'a:b:c' is not a HOST or HOST:PORT such as"),
        ("h 7 8", "unexpected extra argument"),
        ("h --colour", "No such option"),
    ],
)
def test_wrong_options(options, sentence):
    status, said = refused(*options.split())
    assert status == 2
    assert sentence in said


def test_a_run_that_cannot_be(monkeypatch):
    def run(plan, progress=None):
        raise LoadError("the server refuses connections: is it running?")

    monkeypatch.setattr(runner, "run", run)
    assert refused("h") == (1, "the server refuses connections: is it running?")


def test_again(planned, tmp_path):
    """--from takes the stored plan; what is given beside it goes before, and what is not given does not."""
    stored = Plan(host="a", port=9, model="open", rate=5.0, duration=3.0, warmup=0.0, flows=4, processes=2, cpus=(1,))
    path = tmp_path / "result.json"
    path.write_text(json.dumps(a_result(plan=stored.as_dict()).as_dict()))
    again = ("--from", str(path))
    assert planned(*again) == stored
    assert planned("b", *again, "--port", "10", "-d", "1").as_dict() == stored.as_dict() | {
        "host": "b", "port": 10, "duration": 1.0,
    }  # fmt: skip
    assert planned(*again, "--rate", "9").rate == 9
    assert planned(*again, "--connect").model == "connect"
    assert planned(*again, "--udp").transport == "udp"


def test_from_what_is_no_result(tmp_path):
    (tmp_path / "x").write_text('{"schema": "echobench.blast/99"}')
    status, said = refused("--from", str(tmp_path / "x"))
    assert status == 2
    assert said.startswith(f"--from: {tmp_path}/x cannot be used: its schema is 'echobench.blast/99'")


def test_files(planned, tmp_path):
    planned("h", "--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv"))
    assert read(str(tmp_path / "a.json")).plan.host == "h"
    planned("g", "--csv", str(tmp_path / "a.csv"))
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["host"] for row in csv.DictReader(file)] == ["h", "g"]


def test_a_file_that_fails_after_all(planned, tmp_path, monkeypatch):
    """The report is shown all the same, and the other file is written."""

    def full(self, result):
        raise OSError(28, "No space left on device")

    target = module.json_target(str(tmp_path / "a.json"))
    monkeypatch.setattr(type(target), "write", full)
    done = CliRunner().invoke(blast, ["h", "--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv")])
    assert done.exit_code == 1
    assert "a.json could not be written: No space left on device" in done.stderr
    assert "round-trip time" in done.stdout
    assert (tmp_path / "a.csv").exists()


def test_the_status_is_that_of_the_verdicts(monkeypatch):
    def run(plan, progress=None):
        result = a_result({"unexpected": 1})
        object.__setattr__(result, "verdicts", judge(result))
        return result

    monkeypatch.setattr(runner, "run", run)
    done = CliRunner().invoke(blast, ["h"])
    assert done.exit_code == 1
    assert "wrong bytes: " in done.stdout


def whole(how, *options):
    command = [sys.executable, str(RIGS / "fake_blast.py"), how, "blast", "127.0.0.1", "--engine", "portable"]
    return subprocess.run(
        [*command, *options, "-d", "0.3", "--warmup", "0", "--interval", "0.1"],
        capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip


def test_the_whole_command(tmp_path):
    done = whole("well", "--json", str(tmp_path / "r.json"))
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:7 over TCP" in done.stdout
    assert "answered" in done.stderr
    assert read(str(tmp_path / "r.json")).tally.answered
    assert whole("well", "--quiet").stderr == ""


def test_the_whole_command_fails():
    done = whole("refuses")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "Error: the server refuses connections: is it running?"


@pytest.mark.parametrize("missing", ["numpy", "click", "rich"])
def test_without_the_extra(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['blast', 'h']; "
    code += "import echobench.cli; echobench.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert done.stderr.startswith("echobench blast needs the extra: pip install 'echobench[bench]'")
    assert missing in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_and_version():
    for option, words in (("--help", "blast"), ("--version", "0.1.0")):
        done = subprocess.run(
            [sys.executable, "-m", "echobench", option], capture_output=True, text=True, timeout=LIMIT
        )
        assert done.returncode == 0
        assert words in done.stdout


def test_help_shows_every_option_in_its_section():
    text = CliRunner().invoke(blast, ["--help"]).stdout
    for title, options in SECTIONS.items():
        section = text.partition(f"{title}:\n")[2].partition("\n\n")[0]
        for option in options:
            assert option.opts[0] in section
    assert "--help" in text


def test_every_option_is_a_setting_or_known():
    """An option that nothing reads would be accepted and do nothing."""
    known = {"tcp", "udp", "tls", "flood", "connect", "quiet", "json", "csv", "html", "png", "stored", "four", "six",
             "nic", *cluster.NAMES}  # fmt: skip
    fields = set(Plan(host="h").as_dict()) | known
    assert {option.name for options in SECTIONS.values() for option in options} <= fields
    assert isinstance(blast, click.Command)


def test_an_interface_that_is_not_there(planned):
    status, sentence = refused("h", "--nic", "no/such")
    assert status == 2
    assert sentence.startswith("--nic: ")

"""The command: options, reports, files and statuses."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from rich.console import Console
from rigs import faulty
from rigs.helpers import LIMIT
from rigs.truth import UDP, nobody

from echobench.bench import verify as package
from echobench.bench.command import place
from echobench.bench.verify import CLAUSES, Outcome, Verification, command, report
from echobench.bench.verify.formats import as_csv, as_json, as_junit, as_tap

SCHEMA = json.loads((Path(package.__file__).parent / "verification.schema.json").read_text())


def run(*options):
    done = CliRunner().invoke(command.verify, options, prog_name="verify", terminal_width=200)
    assert "Traceback" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def a_verification(*verdicts, address="::1"):
    outcomes = [
        Outcome(clause=clause, address=address, verdict=verdict, seen=f"saw #{number} <&>", seconds=0.25)
        for number, (clause, verdict) in enumerate(zip(CLAUSES, verdicts, strict=False), 1)
    ]
    return Verification(
        started="2026-01-02T03:04:05+00:00", version="1", host="h", port=7, addresses=(address,),
        transports=("tcp",), essential=False, timeout=3.0, seed=1, connections=200, outcomes=tuple(outcomes),
    )  # fmt: skip


MIXED = a_verification("ok", "FAIL", "n/a", "note")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host", ("host", None)),
        ("host:7007", ("host", 7007)),
        ("192.0.2.1:65535", ("192.0.2.1", 65535)),
        ("::1", ("::1", None)),
        ("fe80::1%eth0", ("fe80::1%eth0", None)),
        ("[::1]", ("::1", None)),
        ("[::1]:7007", ("::1", 7007)),
        ("[fe80::1%eth0]:7007", ("fe80::1%eth0", 7007)),
    ],
)
def test_places(text, found):
    assert place(text) == found


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "no server to verify: give a HOST or HOST:PORT"),
        ("host:", "'host:' is not a HOST or HOST:PORT"),
        (":7", "':7' is not a HOST"),
        ("a:b:c", "'a:b:c' is not a HOST"),
        ("h:x", "'h:x' is not a HOST"),
        ("h:0", "a port is a number from 1 to 65535, not 0"),
        ("[::1]:70000", "a port is a number from 1 to 65535, not 70000"),
        ("h --timeout 0", "--timeout is a time above 0"),
        ("h --timeout soon", "'soon' is not a time"),
        ("h --connections 0", "--connections is a number from 1 to 20000, not 0"),
        ("h --json /", "--json: / cannot be written: it is a directory"),
        ("h --junit /nowhere/x", "--junit: /nowhere/x cannot be written: No such file or directory"),
        ("h g", "a port is a number from 1 to 65535, not g"),
        ("h 0", "a port is a number from 1 to 65535, not 0"),
        ("h:7 8", "h is given with two ports, 7 and 8: give one"),
        ("h 7 8", "unexpected extra argument"),
        ("h --colour", "No such option"),
    ],
)
def test_wrong_options(options, sentence):
    done = run(*options.split())
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_nobody_is_one_sentence(tmp_path):
    with nobody() as port:
        done = run(f"127.0.0.1:{port}", "--quiet", "--timeout", "0.3", "--json", str(tmp_path / "v.json"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: nobody serves echo on 127.0.0.1 port {port}: no TCP service: ")
    assert done.stderr.count("\n") == 1
    stored = json.loads((tmp_path / "v.json").read_text())
    Draft202012Validator(SCHEMA).validate(stored)
    assert stored["passed"] is False


def test_no_such_host():
    done = run("127.0.0.1", "-6")
    assert (done.exit_code, done.stderr) == (1, "Error: 127.0.0.1 has no address of IPv6\n")


@pytest.mark.parametrize("options", [["-4"], ["-4", "-6"], []])
def test_a_good_server(options, tmp_path):
    with UDP() as there:
        done = run(f"127.0.0.1:{there.port}", "--udp", *options, "--essential", "--json", str(tmp_path / "v.json"))
    assert done.exit_code == 0
    assert "ok  udp-answer  16 bytes came back after" in done.stdout
    assert "All required clauses hold: 2 ok, 0 failed, 0 not checked." in done.stdout
    assert done.stderr == "1/2  ok    127.0.0.1 udp-answer\n2/2  ok    127.0.0.1 udp-source\n"
    Draft202012Validator(SCHEMA).validate(json.loads((tmp_path / "v.json").read_text()))


def test_a_bad_server(tmp_path):
    with faulty.TCP(faulty.never_closes) as there:
        done = run(
            f"127.0.0.1:{there.port}", "--tcp", "--quiet", "--timeout", "500ms", "--connections", "3", "--seed", "9",
            "--junit", str(tmp_path / "v.xml"), "--json", str(tmp_path / "v.json"),
        )  # fmt: skip
    assert (done.exit_code, done.stderr) == (1, "")
    assert "FAIL  tcp-close" in done.stdout
    assert '  source:   RFC 862: "this continues until the calling user' in done.stdout
    assert "Not all required clauses hold: 10 ok, 3 failed, 0 not checked." in done.stdout
    stored = json.loads((tmp_path / "v.json").read_text())
    Draft202012Validator(SCHEMA).validate(stored)
    failed = {each["id"] for each in stored["outcomes"] if each["verdict"] == "FAIL"}
    assert failed == {"tcp-half-close", "tcp-close", "tcp-empty"}
    assert (stored["connections"], stored["seed"], stored["timeout"]) == (3, 9, 0.5)
    assert ElementTree.parse(tmp_path / "v.xml").getroot().get("failures") == "3"


def test_a_file_that_fails_after_all(monkeypatch, tmp_path):
    def full(self, found):
        raise OSError(28, "No space left on device")

    target = command.text_target(str(tmp_path / "v.xml"), as_json)
    monkeypatch.setattr(type(target), "write", full)
    with UDP() as there:
        done = run(f"127.0.0.1:{there.port}", "--udp", "--essential", "--junit", str(tmp_path / "v.xml"))
    assert done.exit_code == 1
    assert "v.xml could not be written: No space left on device" in done.stderr
    assert "All required clauses hold" in done.stdout


def test_json():
    stored = json.loads(as_json(MIXED))
    Draft202012Validator(SCHEMA).validate(stored)
    assert stored["counts"] == {"ok": 1, "FAIL": 1, "n/a": 1, "note": 1}
    for name in SCHEMA["required"]:
        with pytest.raises(Exception, match="is a required property"):
            Draft202012Validator(SCHEMA).validate({key: stored[key] for key in stored if key != name})


def test_tap():
    """As testanything.org has version 13: a plan, and a line for each test; # begins a directive."""
    lines = as_tap(MIXED).splitlines()
    assert lines[:2] == ["TAP version 13", "1..4"]
    tests = [line for line in lines if re.match(r"(not )?ok ", line)]
    pattern = r"(not )?ok (\d+) - [^#]+?( # SKIP [^#]+)?"
    assert [re.fullmatch(pattern, line)[2] for line in tests] == ["1", "2", "3", "4"]
    assert [line.startswith("not") for line in tests] == [False, True, False, False]
    assert [" # SKIP saw 3" in line for line in tests] == [False, False, True, False]
    assert '  message: "saw #2 <&>"' in lines
    assert "# note: saw #4 <&>" in lines


def test_tap_from_the_command():
    with UDP() as there:
        done = run(f"127.0.0.1:{there.port}", "--udp", "--essential", "--tap")
    assert done.stdout.splitlines() == [
        "TAP version 13", "1..2", "ok 1 - 127.0.0.1 udp-answer: A small datagram comes back",
        "ok 2 - 127.0.0.1 udp-source: The answer comes from the address and port that the datagram was sent to",
    ]  # fmt: skip
    with nobody() as port:
        done = run(f"127.0.0.1:{port}", "--tcp", "--tap", "-q")
    assert done.exit_code == 1
    assert done.stdout.startswith("TAP version 13\n1..13\nnot ok 1 - ")


def test_junit():
    root = ElementTree.fromstring(as_junit(MIXED).encode())
    assert root.tag == "testsuites"
    counts = {"tests": "4", "failures": "1", "errors": "0", "skipped": "1", "time": "1.000"}
    assert root.attrib == {"name": "echobench verify", **counts}
    (suite,) = root
    assert suite.attrib == {"name": "tcp [::1]:7", "timestamp": "2026-01-02T03:04:05", **counts}
    assert [case.get("name") for case in suite] == [each.id for each in CLAUSES[:4]]
    assert [[child.tag for child in case] for case in suite] == [
        ["system-out"], ["failure"], ["skipped"], ["system-out"],
    ]  # fmt: skip
    assert suite[1][0].get("message") == "saw #2 <&>"


def shown(found, width=80):
    console = Console(width=width, highlight=False, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        report.show(found, console)
        return console.export_text()


def test_the_report():
    text = shown(MIXED)
    assert "[::1]:7\n" in text
    assert "note  tcp-bytewise  saw #4 <&>" in text
    assert f"tcp-prompt\n  required: {CLAUSES[1].title}\n" in text
    assert text.rstrip().endswith("Not all required clauses hold: 1 ok, 1 failed, 1 not checked.")
    assert "Nothing could be checked: 0 ok, 0 failed, 2 not checked." in shown(a_verification("n/a", "n/a"))
    assert all(len(line) <= 40 for line in shown(MIXED, 40).splitlines())


def test_how_it_goes():
    console = Console(width=80, highlight=False, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    with console.file, report.Going(console) as going:
        going(MIXED.outcomes[1], 2, 4)
        assert "2/4  FAIL  ::1 tcp-prompt" in str(going._status.status)


def test_the_list():
    done = run("--list")
    assert done.exit_code == 0
    for each in CLAUSES:
        assert each.id in done.stdout


def test_the_whole_command(launch):
    port = launch().port()
    line = [sys.executable, "-m", "echobench", "verify", f"127.0.0.1:{port}", "--essential", "-q"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "All required clauses hold: 4 ok" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clause", "tcp-nothing"], "--clause: there is no clause 'tcp-nothing'; --list names them"),
        (["--clause", "tcp-half-closed"], "Did you mean tcp-half-close?"),
        (["--clause", "udp-answer", "--tcp"], "--clause udp-answer is not over TCP: leave one out"),
        (["--clause", "tcp-answer", "--essential"], "--clause and --essential exclude each other"),
    ],
)
def test_clauses_that_cannot_be_chosen(options, words):
    done = run("127.0.0.1:9", *options)
    assert (done.exit_code, words in done.stderr) == (2, True), done.stderr


def test_only_the_chosen_clauses(tmp_path):
    with faulty.TCP() as there:
        stored = tmp_path / "v.json"
        chosen = ("--clause", "tcp-empty", "--clause", "tcp-answer")
        done = run(f"127.0.0.1:{there.port}", *chosen, "-q", "--json", str(stored), "--csv", str(tmp_path / "v.csv"))
    assert done.exit_code == 0, done.output
    found = json.loads(stored.read_text())
    assert [each["id"] for each in found["outcomes"]] == ["tcp-answer", "tcp-empty"], "in their own order"
    assert found["transports"] == ["tcp"]
    assert found["clauses"] == ["tcp-empty", "tcp-answer"], "what the outcomes are a part of"
    lines = (tmp_path / "v.csv").read_text().splitlines()
    assert [line.split(",")[3] for line in lines] == ["id", "tcp-answer", "tcp-empty"]


def test_a_chosen_clause_alone_where_nobody_is():
    with nobody() as port:
        done = run(f"127.0.0.1:{port}", "--clause", "tcp-large", "-q")
    assert (done.exit_code, "tcp-large  the connection was refused" in done.stdout) == (1, True), done.output


def test_csv_has_every_outcome():
    rows = list(csv.DictReader(io.StringIO(as_csv(MIXED))))
    assert [row["verdict"] for row in rows] == ["ok", "FAIL", "n/a", "note"]
    assert [row["seen"] for row in rows] == [each.seen for each in MIXED.outcomes]
    assert {row["host"] for row in rows} == {"h"}

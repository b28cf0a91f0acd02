"""Stored results of every command, in every form; and what is none of them."""

from __future__ import annotations

import csv
import io
import json

import attrs
import pytest
from click.testing import CliRunner
from rigs.blast_results import a_result
from rigs.compare_results import synthetic
from rigs.pages import HOSTILE, said, tree
from rigs.pixels import size
from rigs.sweeps import queue, swept

from echobench.bench.compare.analysis.gate import gate
from echobench.bench.compare.analysis.judge import as_stored
from echobench.bench.show.command import show
from echobench.bench.show.kinds import KINDS
from echobench.bench.show.verification import decode, verify_page
from echobench.bench.sweep.answer import sentence
from echobench.bench.verify.clauses import CLAUSES
from echobench.bench.verify.outcomes import FAIL, NA, OK, Outcome, Verification
from echobench.bench.verify.report import summary


def verification(**changes):
    outcomes = [
        Outcome(clause=clause, address="192.0.2.1", verdict=verdict, seen=f"saw {clause.id}", seconds=0.5)
        for clause, verdict in zip(CLAUSES, [OK, FAIL, NA, *[OK] * len(CLAUSES)], strict=False)
    ]
    return Verification(
        **{"started": "2026-03-01T12:00:00+00:00", "version": "1", "host": "h", "port": 7, "addresses": ("192.0.2.1",),
           "transports": ("tcp", "udp"), "essential": False, "timeout": 3.0, "seed": 1, "connections": 200,
           "outcomes": tuple(outcomes), **changes}
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("stored")
    stored = {
        "blast": a_result().as_dict(),
        "compare": as_stored(synthetic(1, 0.8)),
        "slower": as_stored(synthetic(2, 0.4)),
        "sweep": swept(queue(45_000)).as_dict(),
        "verify": verification().as_dict(),
    }
    for name, value in stored.items():
        (made / f"{name}.json").write_text(json.dumps(value))
    return made


def invoke(*options, width=200):
    done = CliRunner(env={"COLUMNS": str(width)}).invoke(show, list(map(str, options)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


REPORTS = {
    "blast": "server.example:7007 over TCP",
    "compare": "mine does 0.80",
    "sweep": sentence(swept(queue(45_000))),
    "verify": summary(verification()),
}


def test_every_command_that_stores_has_its_kind():
    assert sorted(kind.command for kind in KINDS.values()) == sorted(REPORTS)


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_and_markdown(folder, name):
    done = invoke(folder / f"{name}.json")
    assert (done.exit_code, REPORTS[name] in done.stdout.replace(" \n", " ")) == (0, True), done.output
    done = invoke(folder / f"{name}.json", "--markdown")
    assert done.exit_code == 0
    assert "\n| :-- | --:" in "\n" + done.stdout
    table = [line.replace("\\|", "").count("|") for line in done.stdout.splitlines() if line.startswith("|")]
    assert min(table) > 2


@pytest.mark.parametrize("name", REPORTS)
def test_csv_and_page(folder, tmp_path, name):
    done = invoke(folder / f"{name}.json", "--csv", tmp_path / "x.csv", "--html", tmp_path / "x.html")
    assert done.exit_code == 0, done.output
    rows = list(csv.reader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert len(rows) >= 2
    assert len({len(row) for row in rows}) == 1
    tree((tmp_path / "x.html").read_text())


@pytest.mark.parametrize("name", REPORTS)
def test_a_picture_of_all_that_has_one(folder, tmp_path, name):
    done = invoke(folder / f"{name}.json", "--png", tmp_path / "x.png")
    if name == "verify":
        assert (done.exit_code, "--png: there is no picture of a result of verify" in done.stderr) == (2, True)
        assert not (tmp_path / "x.png").exists()
    else:
        assert done.exit_code == 0, done.output
        assert size((tmp_path / "x.png").read_bytes()) == (1920, 1080)


def test_wide(folder):
    assert "calls/echo" not in invoke(folder / "compare.json").stdout
    assert "calls/echo" in invoke(folder / "compare.json", "--wide").stdout


def test_two_comparisons_are_tested(folder):
    one, two = folder / "compare.json", folder / "slower.json"
    done = invoke(one, two)
    assert done.exit_code == 0
    assert f"Is {two} slower than {one}?" in done.stdout.replace("\n", "")
    for each in gate(synthetic(1, 0.8), synthetic(2, 0.4)):
        assert f"{each.outcome}: {each.subject}, {each.load}" in done.stdout
    assert "slower: mine, small" in done.stdout
    assert "slower: mine" not in invoke(two, one).stdout, "the first is the older one"
    assert "?" not in invoke(one, two, two).stdout


def test_others_beside_each_other_or_in_turn(folder):
    done = invoke(folder / "blast.json", folder / "compare.json")
    assert "The environments are the same." in done.stdout or "differs" in done.stdout
    done = invoke(folder / "sweep.json", folder / "verify.json")
    assert REPORTS["sweep"] in done.stdout
    assert REPORTS["verify"] in done.stdout


@pytest.mark.parametrize("option", ["--csv", "--html", "--png", "--markdown"])
def test_one_form_of_one_file(folder, tmp_path, option):
    value = [] if option == "--markdown" else [tmp_path / "x"]
    done = invoke(folder / "compare.json", folder / "slower.json", option, *value)
    assert (done.exit_code, f"{option} shows one result: give one FILE, not 2" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "it is not a result of echobench"),
        ("[1]", "it is not a result of echobench"),
        ("nonsense", "it is not JSON"),
        ('{"schema": "other/1"}', "its schema is 'other/1'"),
        ('{"schema": "echobench.sweep/99"}', "this version reads 'echobench.sweep/1'"),
        ('{"schema": "echobench.verify/1"}', "it is incomplete"),
    ],
)
def test_what_is_no_result(tmp_path, content, words):
    path = tmp_path / "x.json"
    path.write_text(content)
    done = invoke(path)
    assert (done.exit_code, words in done.stderr, str(path) in done.stderr) == (2, True, True), done.stderr


def test_a_verification_comes_back_as_it_was_stored():
    found = verification()
    assert decode(json.loads(json.dumps(found.as_dict()))).as_dict() == found.as_dict()


def test_the_page_of_a_verification():
    text = said(tree(verify_page(verification())))
    for words in (summary(verification()), "saw tcp-answer", CLAUSES[1].title, CLAUSES[1].basis):
        assert words in text, words
    clause = attrs.evolve(CLAUSES[0], title=HOSTILE)
    odd = Outcome(clause=clause, address=HOSTILE, verdict=FAIL, seen=HOSTILE, seconds=0.1)
    page = verify_page(verification(host=HOSTILE, outcomes=(odd,)))
    tree(page)
    assert "<script" not in page


def test_a_stored_verification_is_the_whole_one():
    """What Ctrl-C ended has not passed, whatever its outcomes until then."""
    outcomes = verification().outcomes[3:6]
    found = verification(outcomes=outcomes, clauses=tuple(each.clause.id for each in outcomes), cut_short=True)
    read = decode(found.as_dict())
    assert read == found
    assert not read.passed
    assert summary(read).startswith("Ctrl-C ended the verification early: 3 ok")

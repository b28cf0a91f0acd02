"""Stored results: what is in them is what the schema says, and what is none is refused with a sentence."""

from __future__ import annotations

import csv
import json
import os
import stat

import attrs
import jsonschema
import pytest
from hypothesis import given
from rigs.blast_results import SCHEMA, VALIDATOR, a_result, results

from echobench.bench.files import csv_target, json_target
from echobench.bench.run import environment
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import NAMES, Moment, Process, Result, Verdict, figures, read
from echobench.bench.run.stored import ResultError
from echobench.bench.run.tally import Tally


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@given(results())
def test_what_is_stored_is_what_the_schema_says_and_comes_back(result):
    stored = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    VALIDATOR.validate(stored)
    back = Result.from_dict(stored)
    assert back.as_dict() == result.as_dict()
    blank = Tally()  # tallies hold arrays, and are only equal to themselves
    assert attrs.evolve(back, tally=blank) == attrs.evolve(result, tally=blank)


@pytest.mark.parametrize(
    ("kind", "field"),
    [(Plan, "plan"), (Tally, "tally"), (Process, "processes"), (Moment, "moments"), (Verdict, "verdicts")],
)
def test_the_schema_knows_every_field(kind, field):
    """One that is missing there would be refused by those who check a file against it."""
    described = SCHEMA["properties"][field]
    names = set(described.get("items", described)["properties"])
    assert {each.name for each in attrs.fields(kind)} - names == set()


def test_the_schema_knows_this_environment():
    stored = a_result().as_dict() | {"environment": environment.describe("127.0.0.1", True)}
    VALIDATOR.validate(json.loads(json.dumps(stored)))
    # The faults are the server's; they are there only if it injects some.
    assert {*stored["environment"], "faults"} == set(SCHEMA["properties"]["environment"]["properties"])


def test_every_field_is_described():
    def walk(field):
        assert field["description"].endswith((".", "`")), field
        for each in field.get("properties", field.get("items", {}).get("properties", {})).values():
            walk(each)

    walk(SCHEMA)


def broken(change):
    stored = a_result().as_dict()
    change(stored)
    return json.dumps(stored)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it is not a result of echobench blast"),
        ('{"a": 1}', "it is not a result of echobench blast"),
        ('{"schema": "echobench.blast/2"}', "its schema is 'echobench.blast/2', and this version reads"),
        (broken(lambda stored: stored.pop("tally")), "it is incomplete: 'tally' is missing"),
        (broken(lambda stored: stored.update(tally=[])), "it is damaged"),
        (broken(lambda stored: stored["tally"]["from_send"].update(hdr="!")), "not a compressed HdrHistogram"),
        (broken(lambda stored: stored["tally"].update(colour=1)), "it is damaged"),
        (broken(lambda stored: stored["plan"].update(model="x")), "model is one of"),
        (broken(lambda stored: stored.update(processes=[{"index": 1}])), "it is damaged"),
        (broken(lambda stored: stored.update(processes=[3])), "it is damaged"),
    ],
)
def test_what_cannot_be_read(tmp_path, text, sentence):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=sentence) as caught:
        read(str(path))
    assert str(caught.value).startswith(f"{path} cannot be used: ")


def test_what_is_not_there(tmp_path):
    with pytest.raises(ResultError, match="cannot be read: No such file"):
        read(str(tmp_path / "none"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ResultError, match="it is not JSON"):
        read(str(tmp_path / "bytes"))


def test_a_json_file_is_replaced_whole(tmp_path):
    path = tmp_path / "result.json"
    target = json_target(str(path))
    assert list(tmp_path.iterdir()) == [], "to ask leaves nothing"
    for result in (a_result(), a_result(cut_short=True)):
        target.write(result)
    assert read(str(path)).cut_short
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("before")
    target = json_target(str(path))

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        target.write(a_result())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "there")
    json_target(str(tmp_path / "link")).write(a_result())
    assert (tmp_path / "link").is_symlink()
    assert read(str(tmp_path / "there")).address == "192.0.2.1"


@pytest.mark.parametrize("make", [json_target, csv_target])
def test_what_cannot_be_written_is_found_out_before(tmp_path, make):
    with pytest.raises(OSError, match="it is a directory"):
        make(str(tmp_path))
    with pytest.raises(OSError, match="No such file"):
        make(str(tmp_path / "none" / "result"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        make(str(tmp_path / "file" / "result"))


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        json_target(str(pipe)).write(a_result())
        assert json.loads(os.read(reader, 1 << 20))["address"] == "192.0.2.1"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_csv_grows_by_a_line(tmp_path):
    path = tmp_path / "figures.csv"
    for flows in (1, 2):
        csv_target(str(path)).write(a_result(plan={"flows": flows}))
    path.write_text(path.read_text().rstrip("\n"))  # as an editor may leave it
    csv_target(str(path)).write(a_result(plan={"flows": 3}))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["flows"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["answered_per_second"]) == 10_000
    assert rows[0]["from_send_p99_999"] == ""


def test_csv_with_other_columns_is_left_alone(tmp_path):
    path = tmp_path / "figures.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(OSError, match="it has other columns"):
        csv_target(str(path))
    assert path.read_text() == "a,b\n1,2\n"


def test_figures():
    row = figures(a_result(plan={"model": "open", "rate": 9000.0}, tally={"late": 2, "unanswered": 1, "duplicates": 7}))
    assert tuple(row) == NAMES
    assert row["lost"] == 3
    assert row["sent_per_second"] == row["answered_per_second"] == 10_000
    assert row["answered_bytes_per_second"] == 640_000
    assert row["from_intended_p50"] == pytest.approx(120_000, rel=1e-3)
    assert row["from_send_p99_99"] == pytest.approx(100_000, rel=1e-3)
    assert row["from_send_p99_999"] is None, "100,000 messages do not say"
    assert row["from_send_max"] is None, "the slowest did not come back"
    assert row["from_send_lost"] == row["from_intended_lost"] == 3
    assert row["lateness_p99"] == pytest.approx(20_000, rel=1e-3)
    assert (row["generator_cpu"], row["generator_busy"]) == (0.5, 0.6)


def test_figures_of_nothing():
    row = figures(a_result(tally={"intended": 0, "sent": 0, "answered": 0, "window": 0.1}))
    assert row["from_send_mean"] is None
    assert row["answered_per_second"] == 0

"""Where results are stored: whole, with owner and mode kept, behind what was there, or with a sentence."""

from __future__ import annotations

import contextlib
import csv
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from rigs.blast_results import a_result
from rigs.helpers import is_root

from echobench.bench import places
from echobench.bench.files import csv_line, csv_target, json_target
from echobench.bench.run.result import NAMES, read

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these places are POSIX's")


@contextlib.contextmanager
def opened(path, flags):
    number = os.open(path, flags, 0o600)
    try:
        yield number
    finally:
        os.close(number)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("-", 1),
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/fd/63", 63),
        ("/proc/self/fd/7", 7),
        ("/dev/null", None),
        ("./-", None),
        ("/dev/fd/x", None),
    ],
)
def test_which_paths_are_descriptors(path, number):
    assert places.descriptor(path) == number


def test_a_link_to_standard_output_is_standard_output(tmp_path):
    (tmp_path / "one").symlink_to("/dev/stdout")
    (tmp_path / "two").symlink_to("one")
    assert places.descriptor(str(tmp_path / "two")) == 1


def test_a_circle_of_links_ends(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises((OSError, RuntimeError)):
        places.find(str(tmp_path / "one"))


def test_an_open_file_is_not_truncated(tmp_path):
    """As with ``>>``: what is there stays, and the result comes behind it."""
    path = tmp_path / "log"
    path.write_text("before\n")
    with opened(path, os.O_WRONLY | os.O_APPEND) as number:
        json_target(f"/dev/fd/{number}").write(a_result())
    text = path.read_text()
    assert text.startswith("before\n{")
    path.write_text(text.removeprefix("before\n"))
    assert read(str(path)).as_dict() == a_result().as_dict()


def test_a_descriptor_that_is_not_open_or_not_for_writing(tmp_path):
    with pytest.raises(OSError, match="Bad file descriptor"):
        places.find("/dev/fd/99999")
    (tmp_path / "a").touch()
    with opened(tmp_path / "a", os.O_RDONLY) as number, pytest.raises(OSError, match="not open for writing"):
        places.find(f"/dev/fd/{number}")


def test_a_pipe_that_is_slow_and_not_blocking_gets_everything():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    got = bytearray()

    def read_all():
        while data := os.read(reader, 1000):
            got.extend(data)

    thread = threading.Thread(target=read_all)
    thread.start()
    data = bytes(range(256)) * 4096  # more than a pipe holds
    places.find(f"/dev/fd/{writer}").write(data)
    os.close(writer)
    thread.join(20)
    os.close(reader)
    assert bytes(got) == data


def test_a_replaced_file_keeps_its_mode(tmp_path):
    path = tmp_path / "a.json"
    path.touch()
    path.chmod(0o640)
    json_target(str(path)).write(a_result())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not is_root, reason="only root can give files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "a.json"
    path.touch()
    os.chown(path, 1234, 4321)
    json_target(str(path)).write(a_result())
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)
    assert read(str(path)).as_dict() == a_result().as_dict()


@pytest.fixture
def public():
    """Give a folder that other users can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="echobench-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.skipif(not is_root, reason="only root can become another user")
@pytest.mark.parametrize("folder_mode", [0o777, 0o755])
def test_a_file_of_somebody_else_is_written_in_its_place(public, folder_mode):
    """A user who may write it cannot make a new one with its owner, nor always a new one at all."""
    path = public / "a.json"
    path.write_text("x" * 100_000)
    path.chmod(0o666)
    public.chmod(folder_mode)
    before = path.stat()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            places.find(str(path)).write(b"short")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == b"short"
    assert (path.stat().st_uid, path.stat().st_ino) == (before.st_uid, before.st_ino)
    assert list(public.iterdir()) == [path]


def test_other_names_of_a_file_see_the_new_content(tmp_path):
    path = tmp_path / "a"
    path.write_text("long before")
    os.link(path, tmp_path / "b")
    places.find(str(path)).write(b"new")
    assert (tmp_path / "b").read_bytes() == b"new"


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from rigs.blast_results import a_result
from echobench.bench.files import csv_target
target = csv_target(sys.argv[1])
sys.stdin.readline()
for number in range(50):
    target.write(a_result(plan={"flows": number + 1}))
"""


def test_runs_at_the_same_time_add_to_one_csv(tmp_path):
    from rigs.places import ROOT

    path = tmp_path / "all.csv"
    command = [sys.executable, "-c", WRITER, str(path), str(ROOT / "tests")]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for each in writers:
        each.stdin.write(b"\n")
        each.stdin.close()
    assert [each.wait(60) for each in writers] == [0] * 4
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["flows"]) for row in rows) == sorted(4 * list(range(1, 51)))


def test_a_line_that_was_never_finished_costs_no_other(tmp_path):
    path = tmp_path / "all.csv"
    csv_target(str(path)).write(a_result())
    with path.open("a") as file:
        file.write("half a li")
    csv_target(str(path)).write(a_result(plan={"flows": 7}))
    lines = path.read_text().splitlines()
    assert lines[0] == csv_line(list(NAMES)).rstrip()
    assert lines[2] == "half a li"
    assert dict(zip(NAMES, lines[3].split(","), strict=False))["flows"] == "7"

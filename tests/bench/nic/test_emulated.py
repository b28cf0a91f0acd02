"""The rig of emulated cards (tests/qemu/), as far as it runs without QEMU."""

from __future__ import annotations

import importlib.util
import lzma
import shutil
import subprocess
import sys

import pytest
from rigs.helpers import LIMIT
from rigs.places import ROOT

FOLDER = ROOT / "tests/qemu"


@pytest.fixture
def machine():
    spec = importlib.util.spec_from_file_location("echobench_qemu_machine", FOLDER / "machine.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_it_says_what_is_missing(tmp_path):
    """The job of CI is skipped with this reason."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / "spread.py")], capture_output=True, text=True, timeout=LIMIT,
        env={"PATH": str(tmp_path), "SYSTEMROOT": "C:\\Windows"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("skipped: ")
    assert done.stdout.endswith((" root\n", "igb)\n"))


def test_modules_come_after_what_they_need(machine, tmp_path):
    for name, needs in (("igb", "i2c-algo-bit,dca"), ("dca", ""), ("i2c-algo-bit", "")):
        packed = lzma.compress(b"\0license=GPL\0depends=" + needs.encode() + b"\0")
        (tmp_path / f"{name}.ko.xz").write_bytes(packed)
    found = machine.with_dependencies(["igb", "built-in"], tmp_path)
    assert list(found) == ["i2c-algo-bit.ko", "dca.ko", "igb.ko"]


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_the_archive_can_be_unpacked(machine, tmp_path):
    data = machine.archive({"a": (0o40755, b""), "a/b": (0o100755, b"hello")})
    subprocess.run(["cpio", "-idm"], input=data, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "a/b").read_bytes() == b"hello"


def test_sizes_in_the_archive_are_whole_words(machine):
    data = machine.archive({"a": (0o100644, b"12345")})
    assert len(data) % 4 == 0
    assert data.count(b"070701") == 2

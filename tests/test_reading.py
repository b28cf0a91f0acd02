"""Whole files, and nothing that would be waited for or never end."""

from __future__ import annotations

import os

import pytest

from echobench.reading import contents

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")


def test_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"\r\n\x1a\0")
    assert contents(str(tmp_path / "file"), 4) == b"\r\n\x1a\0"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert contents(str(tmp_path / "link"), 4) == b"\r\n\x1a\0"


@needs_pipes
def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="it is a directory, a pipe or a device, not a file"):
            contents(str(name), 1000)


@needs_pipes
def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("echobench.reading.stat.S_ISREG", lambda mode: True)
    assert contents(str(tmp_path / "pipe"), 1000) == b""


def test_a_file_that_is_too_large(tmp_path):
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(OSError, match="it is larger than 1 MiB"):
        contents(str(tmp_path / "large"), 1 << 20)


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(FileNotFoundError):
        contents(str(tmp_path / "nowhere"), 1000)

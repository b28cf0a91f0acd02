"""What the kernel floor says where it cannot work."""

from __future__ import annotations

import platform
import sys

import pytest

from echobench import kernel
from echobench.kernel import calls

OP_NOP, OP_POLL_ADD = 0, 6  # linux/io_uring.h; the engines need neither


@pytest.fixture
def linux(monkeypatch):
    """Pretend a 64-bit, little-endian Linux, whatever this machine is."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "byteorder", "little")
    monkeypatch.setattr(sys, "maxsize", (1 << 63) - 1)


@pytest.mark.usefixtures("linux")
def test_nothing_is_missing_on_linux():
    assert kernel.missing() is None


@pytest.mark.usefixtures("linux")
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("platform", "darwin", "it needs Linux, and this is darwin"),
        ("platform", "win32", "it needs Linux, and this is win32"),
        ("byteorder", "big", "it needs a little-endian machine"),
        ("maxsize", (1 << 31) - 1, "it needs a 64-bit Python"),
    ],
)
def test_what_is_missing_elsewhere_is_said(monkeypatch, name, value, sentence):
    monkeypatch.setattr(sys, name, value)
    assert kernel.missing() == sentence


def test_a_machine_whose_numbers_are_not_known_is_an_error(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(OSError, match="the number of the system call recvmmsg is not known for pdp11 machines"):
        calls.system_call("recvmmsg")

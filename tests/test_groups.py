"""Which addresses are broadcast addresses, as the kernel says."""

from __future__ import annotations

import errno
import socket

import pytest
from rigs.helpers import needs_linux

from echobench import groups
from echobench.groups import is_broadcast


@needs_linux
def test_broadcast_addresses_are_known():
    assert is_broadcast("255.255.255.255")
    assert is_broadcast("127.255.255.255")
    assert not is_broadcast("127.0.0.1")
    assert not is_broadcast("127.0.0.2")


@needs_linux
def test_broadcast_addresses_are_known_without_a_descriptor_left(monkeypatch):
    """What asks the kernel is kept open."""
    groups.ready_to_tell_broadcasts()

    def none_left(*args):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("echobench.groups.socket.socket", none_left)
    assert is_broadcast("127.255.255.255")
    assert not is_broadcast("127.0.0.3")


@needs_linux
def test_to_ask_about_an_address_sends_nothing_to_it():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        try:
            listener.bind(("127.0.0.4", 9))
        except OSError as error:
            pytest.skip(f"port 9 cannot be had: {error}")
        listener.setblocking(False)
        assert not is_broadcast("127.0.0.4")
        with pytest.raises(BlockingIOError):
            listener.recv(10)


@needs_linux
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE, errno.EBADF])
def test_an_error_that_tells_nothing_of_the_address_is_no_answer(monkeypatch, code):
    class Prober:
        def sendto(self, *args):
            raise OSError(code, "no")

    monkeypatch.setattr("echobench.groups._prober", Prober)
    with pytest.raises(OSError, match="no"):
        is_broadcast("127.0.0.5")

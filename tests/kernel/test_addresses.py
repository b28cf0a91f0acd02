"""This host's addresses, as the kernel tells them, now and when they change."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
import sys
import textwrap

import pytest
from rigs.helpers import has_ipv6, is_root, needs_linux, program
from rigs.places import ROOT

from echobench.kernel import netlink
from echobench.kernel.addresses import Addresses

pytestmark = needs_linux


@pytest.fixture
def addresses():
    made = Addresses()
    yield made
    made.close()


def test_those_of_loopback_are_always_there(addresses):
    assert socket.inet_aton("127.0.0.1") in addresses.own
    assert socket.inet_aton("127.255.255.255") in addresses.broadcasts
    if has_ipv6():
        assert socket.inet_pton(socket.AF_INET6, "::1") in addresses.own


def test_every_one_can_be_bound_to(addresses):
    """All that the kernel tells, and nothing else, is ours."""
    for each in addresses.own:
        if each[:2] != b"\xfe\x80":  # that one needs its interface
            family = socket.AF_INET if len(each) == 4 else socket.AF_INET6
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.bind((socket.inet_ntop(family, each), 0))


def test_nothing_changes_by_looking(addresses):
    assert not addresses.read()
    assert not select.select([addresses], [], [], 0)[0]


def test_they_are_those_of_a_socket_in_the_same_network(addresses, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert addresses.are_of(sock)
        monkeypatch.setattr(netlink, "_namespace", lambda asked: b"other" if asked is sock else b"one")
        assert not addresses.are_of(sock)


class Lossy:
    """A netlink socket that fails once with an error."""

    def __init__(self, real, code):
        self.real, self.code, self.asked = real, code, 0

    def __getattr__(self, name):
        return getattr(self.real, name)

    def recvfrom(self, size):
        if self.code:
            code, self.code = self.code, 0
            raise OSError(code, os.strerror(code))
        return self.real.recvfrom(size)

    def sendto(self, *args):
        self.asked += 1
        return self.real.sendto(*args)


def test_after_a_loss_all_are_asked_for_again(addresses):
    before = addresses.own
    addresses._socket = Lossy(addresses._socket, errno.ENOBUFS)
    addresses._known.clear()
    assert addresses.read()
    assert addresses._socket.asked == 1
    assert addresses.own == before


def test_a_list_that_cannot_be_had_leaves_the_old_ones_and_is_asked_for_again(addresses):
    class Poor(Lossy):
        refusals = 1

        def sendto(self, *args):
            if self.refusals:
                self.refusals -= 1
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            return super().sendto(*args)

    before = addresses.own
    addresses._socket = Poor(addresses._socket, errno.ENOBUFS)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        addresses.read()
    assert addresses.own == before
    assert not addresses.read()
    assert addresses._socket.asked == 1
    assert addresses.own == before


def test_other_errors_are_told(addresses):
    addresses._socket = Lossy(addresses._socket, errno.EBADF)
    with pytest.raises(OSError, match="Bad file descriptor"):
        addresses.read()


def test_a_refusal_is_told(addresses):
    body = struct.pack("=i", -errno.EPERM)

    class Refusing(Lossy):
        def recvfrom(self, size):
            return struct.pack("=IHHII", 16 + len(body), 2, 0, 1, 0) + body, (0, 0)

    addresses._socket = Refusing(addresses._socket, 0)
    with pytest.raises(OSError, match="EPERM"):
        addresses.read()


def test_another_process_is_not_believed(addresses):
    class Forging(Lossy):
        given = False

        def recvfrom(self, size):
            if self.given:
                return self.real.recvfrom(size)
            self.given = True
            about = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, 9) + struct.pack(
                "=HH4s", 8, 2, bytes([10, 9, 9, 9])
            )
            return struct.pack("=IHHII", 16 + len(about), 20, 0, 0, 0) + about, (4711, 0)

    addresses._socket = Forging(addresses._socket, 0)
    assert not addresses.read()
    assert bytes([10, 9, 9, 9]) not in addresses.own


CHANGES = """
import select, socket, subprocess
from echobench.kernel.addresses import Addresses

def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)

ip("link", "set", "lo", "up")
ip("link", "add", "one", "type", "veth", "peer", "name", "other")
ip("link", "set", "one", "up")
addresses = Addresses()

def now():
    select.select([addresses], [], [], 5)
    assert addresses.read()

v4, v6 = socket.inet_aton("10.99.0.1"), socket.inet_pton(socket.AF_INET6, "fd99::1")
ip("addr", "add", "10.99.0.1/26", "brd", "10.99.0.40", "dev", "one")
now()
assert v4 in addresses.own
assert {socket.inet_aton("10.99.0.40"), socket.inet_aton("10.99.0.63")} <= addresses.broadcasts
ip("addr", "add", "fd99::1/64", "dev", "one", "nodad")
now()
assert v6 in addresses.own
ip("addr", "add", "10.99.0.1/24", "dev", "other")
now()
ip("addr", "del", "10.99.0.1/26", "dev", "one")
now()
assert v4 in addresses.own, "the other interface has it still"
assert socket.inet_aton("10.99.0.40") not in addresses.broadcasts
ip("addr", "add", "10.98.0.1", "peer", "10.97.0.1/32", "dev", "one")
now()
assert socket.inet_aton("10.98.0.1") in addresses.own
assert socket.inet_aton("10.97.0.1") not in addresses.own
ip("link", "del", "one")
while v4 in addresses.own or v6 in addresses.own:
    now()
"""


@pytest.mark.slow
@pytest.mark.skipif(not is_root, reason="network namespaces need root")
def test_changes_are_followed():
    program("ip")
    command = [program("unshare"), "--net", sys.executable, "-c", textwrap.dedent(CHANGES)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr

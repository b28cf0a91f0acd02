"""What the kernel says about next hops, in a network namespace made for it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys

import pytest
from rigs.helpers import is_root

from echobench.kernel import neighbours, netlink
from echobench.kernel.neighbours import Hop, Neighbours

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="this test asks the Linux kernel")


@pytest.fixture
def sock():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "::1"])
def test_nothing_waits_on_loopback(sock, host):
    asking = Neighbours(sock)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    assert asking.hop(socket.inet_pton(family, host)) is Hop.KNOWN
    asking.close()


def test_errors_are_no_reason_to_refuse_anybody(sock, monkeypatch):
    asking = Neighbours(sock)

    def ask(*args):
        raise OSError(errno.EPERM, "forbidden")

    monkeypatch.setattr(asking, "_ask", ask)
    assert asking.hop(socket.inet_aton("192.0.2.1")) is Hop.KNOWN
    monkeypatch.setattr(asking, "_ask", lambda *args: b"short")
    assert asking.hop(socket.inet_aton("192.0.2.1")) is Hop.KNOWN
    asking.close()


def test_an_answer_to_an_earlier_question_is_not_taken_for_this_ones(sock):
    asking = Neighbours(sock)
    asking._sock.send(netlink.request(neighbours.RTM_GETROUTE, bytes(12), sequence=77))
    assert asking.hop(socket.inet_aton("127.0.0.1")) is Hop.KNOWN
    asking.close()


def test_a_socket_of_another_namespace_is_not_asked_about(sock, monkeypatch):
    cookies = [b"one", b"other"]
    monkeypatch.setattr(netlink, "_namespace", lambda sock: cookies.pop())
    with pytest.raises(OSError, match="another network namespace"):
        Neighbours(sock)


def test_a_system_without_netlink_says_so(sock, monkeypatch):
    monkeypatch.delattr(socket, "AF_NETLINK")
    with pytest.raises(OSError, match="no netlink sockets"):
        Neighbours(sock)


CODE = """
import socket, sys
from echobench.kernel.neighbours import Neighbours
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
asking = Neighbours(sock)
for word in sys.argv[1:]:
    if word.startswith("send:"):
        for address in socket.getaddrinfo(word[5:], 9, 0, socket.SOCK_DGRAM):
            socket.socket(address[0], socket.SOCK_DGRAM).sendto(b"x", address[4])
    else:
        host, _, scope = word.partition("%")
        packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        print(asking.hop(packed, socket.if_nametoindex(scope) if scope else 0).name)
"""


@pytest.fixture
def namespace():
    if not is_root or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the ip program")
    name = f"echobench-n{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        pytest.skip("this host gives no network namespace")
    try:
        for line in (
            "link set lo up",
            "link add wire type veth peer name other",
            "link set wire addrgenmode none",
            "link set other up",
            "addr add 10.99.0.1/24 dev wire",
            "addr add fd99::1/64 dev wire nodad",
            "addr add fe80::1/64 dev wire nodad",
            "link set wire up",
            "neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev wire",
            "neigh add fd99::2 lladdr 02:00:00:00:00:02 dev wire",
            "route add 10.98.0.0/24 via 10.99.0.2",
            "route add 10.97.0.0/24 via 10.99.0.7",
            "route add fd98::/64 via fd99::7",
        ):
            subprocess.run(["ip", "-n", name, *line.split()], check=True, capture_output=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def said(namespace, *words):
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", CODE, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_what_waits_is_told_from_what_does_not(namespace):
    known = ["10.99.0.2", "::ffff:10.99.0.2", "fd99::2", "10.98.0.5", "10.99.0.1", "fd99::1", "192.0.2.1", "127.0.0.1"]
    assert said(namespace, *known) == ["KNOWN"] * len(known)
    unknown = ["10.99.0.7", "::ffff:10.99.0.7", "fd99::7", "10.97.0.5", "fd98::5", "fe80::7%wire"]
    assert said(namespace, *unknown) == ["UNKNOWN"] * len(unknown)
    sends = ["send:10.97.0.5", "send:fd98::5", "send:fe80::7%wire"]
    assert said(namespace, *sends, *unknown) == ["ASKED"] * len(unknown)

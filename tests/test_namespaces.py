"""What only a network shows: several addresses, broadcast, link-local, no IPv6. In namespaces made for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
from helpers import ServerProcess, is_root, wait_for

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not is_root or shutil.which("ip") is None,
    reason="needs Linux, root and the ip program, to make network namespaces",
)

SERVER, CLIENT = f"echobench-s{os.getpid()}", f"echobench-c{os.getpid()}"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def network():
    """Two hosts on one wire: the server has 10.99.0.1 and .2 and fd99::1 and ::2, the client 10.99.0.9 and fd99::9."""
    try:
        ip("netns", "add", SERVER)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    try:
        ip("netns", "add", CLIENT)
        ip("link", "add", "wire-s", "netns", SERVER, "type", "veth", "peer", "name", "wire-c", "netns", CLIENT)
        for name, wire, addresses in ((SERVER, "wire-s", ("1", "2")), (CLIENT, "wire-c", ("9",))):
            for last in addresses:
                ip("-n", name, "addr", "add", f"10.99.0.{last}/24", "brd", "10.99.0.255", "dev", wire)
                ip("-n", name, "addr", "add", f"fd99::{last}/64", "dev", wire, "nodad")
            ip("-n", name, "link", "set", wire, "addrgenmode", "none")
            ip("-n", name, "addr", "add", f"fe80::{addresses[0]}/64", "dev", wire, "nodad")
            ip("-n", name, "link", "set", wire, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in (SERVER, CLIENT):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.fixture
def server(network, launch):
    return launch(prefix=["ip", "netns", "exec", SERVER])


CLIENT_CODE = """
import socket, sys
host, port, scope, options = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
family = socket.AF_INET6 if ":" in host else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.settimeout(float(options[0]))
if "broadcast" in options:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
address = (host, port, 0, socket.if_nametoindex(scope)) if family == socket.AF_INET6 and scope else (host, port)
sock.sendto(b"who are you?", address)
try:
    data, source = sock.recvfrom(100)
    print(data.decode(), "from", source[0].partition("%")[0])
except TimeoutError:
    print("nothing")
"""


def ask_from_client(host, port, scope="", wait=5.0, *options):
    command = ["ip", "netns", "exec", CLIENT, sys.executable, "-c", CLIENT_CODE, host, str(port), scope]
    done = subprocess.run([*command, ",".join([str(wait), *options])], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("host", ["10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"])
def test_answers_from_the_address_that_was_asked(server, host):
    assert ask_from_client(host, server.port()) == f"who are you? from {host}"


def test_link_local_addresses_are_answered(server):
    assert ask_from_client("fe80::1", server.port(), "wire-c") == "who are you? from fe80::1"


@pytest.mark.parametrize(
    ("host", "interface"),
    [
        ("10.99.0.255", None),
        ("10.99.0.255", "0.0.0.0"),
        ("255.255.255.255", None),
        ("255.255.255.255", "0.0.0.0"),
        ("224.0.0.1", "0.0.0.0"),  # the kernel gives it to no socket that is not IPv4's own
        ("ff02::1", None),
    ],
)
def test_groups_are_not_answered(network, launch, host, interface):
    """Else one packet to all would have all of them answer its forged source."""
    only = ["--interface", interface] if interface else []
    server = launch("--stats-interval", "0.1", *only, prefix=["ip", "netns", "exec", SERVER])
    if host.startswith("255"):
        ip("-n", CLIENT, "route", "add", "255.255.255.255", "dev", "wire-c")
    if host.startswith("224"):
        ip("-n", CLIENT, "route", "add", "224.0.0.0/4", "dev", "wire-c")
    if host.startswith("ff"):
        ip("-n", CLIENT, "-6", "route", "add", "multicast", "ff00::/8", "dev", "wire-c", "table", "local")
    scope = "wire-c" if ":" in host else ""
    assert ask_from_client(host, server.port(), scope, 0.5, "broadcast") == "nothing"
    wait_for(lambda: "drops=destination_multicast_or_broadcast:1" in server.output, 5)
    assert ask_from_client("10.99.0.1", server.port()) == "who are you? from 10.99.0.1"


def test_addresses_one_by_one(network, launch):
    server = launch("--interface", "10.99.0.2", "--interface", "fd99::2", prefix=["ip", "netns", "exec", SERVER])
    for host in ("10.99.0.2", "fd99::2"):
        assert ask_from_client(host, server.port()) == f"who are you? from {host}"
    assert ask_from_client("10.99.0.1", server.port(), "", 0.3) == "nothing"


def test_bindv6only_changes_nothing(network, launch):
    """Dual stack is set, not hoped for."""
    subprocess.run(["ip", "netns", "exec", SERVER, "sysctl", "-qw", "net.ipv6.bindv6only=1"], check=True)
    server = launch(prefix=["ip", "netns", "exec", SERVER])
    assert ask_from_client("10.99.0.1", server.port()) == "who are you? from 10.99.0.1"


def test_a_kernel_told_to_do_without_ipv6(network, launch):
    for scope in ("all", "default", "lo", "wire-s"):
        key = f"net.ipv6.conf.{scope}.disable_ipv6=1"
        subprocess.run(["ip", "netns", "exec", SERVER, "sysctl", "-qw", key], check=True)
    server = launch(prefix=["ip", "netns", "exec", SERVER])
    assert ask_from_client("10.99.0.2", server.port()) == "who are you? from 10.99.0.2"


def test_an_interface_that_went_away_is_a_sentence(network, tmp_path):
    server = ServerProcess(("--interface", "10.99.0.77"), cwd=tmp_path, prefix=["ip", "netns", "exec", SERVER])
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(server.kill)
        assert server.wait() == 1
    assert "this machine has no such address" in server.output
    assert "Traceback" not in server.output

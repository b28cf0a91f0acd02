"""What only a network shows: several addresses, broadcast, link-local, no IPv6. In namespaces made for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
from rigs.helpers import ServerProcess, is_root, program, wait_for
from rigs.places import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not is_root or shutil.which("ip") is None,
        reason="network namespaces need Linux, root and the ip program",
    ),
]

SERVER, CLIENT = f"echobench-s{os.getpid()}", f"echobench-c{os.getpid()}"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def network():
    """Two hosts on one wire: the server has 10.99.0.1 and .2 and fd99::1 and ::2, the client 10.99.0.9 and fd99::9."""
    try:
        ip("netns", "add", SERVER)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this host gives no network namespace: {error.stderr.strip()}")
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
def server(network, launch, udp_engine):
    return launch("--udp-engine", udp_engine, "--stats-interval", "0.1", prefix=["ip", "netns", "exec", SERVER])


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
    done = subprocess.run([*command, ",".join([str(wait), *options])], capture_output=True, text=True, timeout=110)
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
def test_groups_are_not_answered(network, launch, udp_engine, host, interface):
    """Else one packet to all would have all of them answer its forged source."""
    only = ["--interface", interface] if interface else []
    options = ["--udp-engine", udp_engine, "--stats-interval", "0.1", *only]
    server = launch(*options, prefix=["ip", "netns", "exec", SERVER])
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


BURST_CODE = """
import socket, struct, sys
host, port, source, segment, number = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
for option in (33, 32):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE
    sock.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
if source:
    sock.bind((source, 0))
sock.connect((host, port))
sock.settimeout(5)
data = [struct.pack("=I", i) + bytes(k % 251 for k in range(segment - 4)) for i in range(3 * number)]
control = [(socket.IPPROTO_UDP, 103, struct.pack("=H", segment))]  # UDP_SEGMENT
try:
    if segment * number <= 65000:  # two trains, and as many alone as in one of them
        sock.sendmsg(data[:number], control)
        sock.sendmsg(data[number : 2 * number], control)
    for each in data[2 * number :] if segment * number <= 65000 else data:
        sock.send(each)
    print([sock.recv(1 << 16) for _ in data] == data)
except TimeoutError:
    print("some are missing")
"""


def burst_from_client(host, port, segment, number, source=""):
    """Send three times as many datagrams, two thirds in trains if they fit, and say whether they come back in order."""
    arguments = [host, str(port), source, str(segment), str(number)]
    command = ["ip", "netns", "exec", CLIENT, sys.executable, "-c", BURST_CODE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def nothing_was_dropped(server):
    """Say so when the server has reported on all that went before."""
    reports = server.output.count("drops=")
    wait_for(lambda: server.output.count("drops=") > reports + 1)
    assert server.output.count("drops=") == server.output.count("drops=none")


@pytest.mark.parametrize("host", ["10.99.0.2", "fd99::2"])
def test_trains_over_ethernet(server, host):
    assert burst_from_client(host, server.port(), 1400, 40) == "True"
    nothing_was_dropped(server)


@pytest.mark.parametrize(
    ("host", "peer", "mtu", "segment"),
    [("10.99.0.2", "10.99.0.9/32", "1000", 1200), ("fd99::2", "fd99::9/128", "1280", 1400)],
)
def test_a_way_back_with_a_smaller_mtu(server, host, peer, mtu, segment):
    """What came in whole has to be fragmented, of which a train is not capable."""
    ip("-n", SERVER, "route", "replace", peer, "dev", "wire-s", "mtu", mtu)
    for _ in range(2):
        assert burst_from_client(host, server.port(), segment, 40) == "True"
    nothing_was_dropped(server)


def test_a_device_that_computes_no_checksums(server):
    subprocess.run(
        ["ip", "netns", "exec", SERVER, program("ethtool"), "-K", "wire-s", "tx", "off"],
        check=True,
        capture_output=True,
    )
    assert burst_from_client("10.99.0.1", server.port(), 1200, 40) == "True"
    nothing_was_dropped(server)


def test_a_way_back_by_another_wire(server):
    """The client is asked for by its address on no wire, and the way there is not the one that it came."""
    ip("link", "add", "back-s", "netns", SERVER, "type", "veth", "peer", "name", "back-c", "netns", CLIENT)
    for name, wire, address in ((SERVER, "back-s", "10.98.0.1/24"), (CLIENT, "back-c", "10.98.0.9/24")):
        ip("-n", name, "addr", "add", address, "dev", wire)
        ip("-n", name, "link", "set", wire, "up")
        for scope in ("all", "default", wire, wire.replace("back", "wire")):
            settings = [f"net.ipv4.conf.{scope}.{key}" for key in ("rp_filter=0", "arp_ignore=1", "arp_announce=2")]
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", *settings], check=True)
    ip("-n", CLIENT, "addr", "add", "10.97.0.9/32", "dev", "lo")
    ip("-n", SERVER, "route", "add", "10.97.0.9/32", "via", "10.98.0.9", "dev", "back-s")
    assert burst_from_client("10.99.0.2", server.port(), 500, 20, "10.97.0.9") == "True"


def test_a_send_buffer_that_is_really_full(network, launch):
    """A slow wire: what waits for it fills the buffer, and the batch has to wait too."""
    command = f"{program('tc')} -n {SERVER} qdisc add dev wire-s root tbf rate 30mbit burst 20k limit 20m"
    subprocess.run(command.split(), check=True, capture_output=True)
    options = ["--udp-engine", "batched", "--stats-interval", "0.1"]
    server = launch(*options, prefix=["ip", "netns", "exec", SERVER])
    assert burst_from_client("10.99.0.1", server.port(), 1200, 50) == "True"
    assert burst_from_client("10.99.0.1", server.port(), 60_000, 15) == "True"
    nothing_was_dropped(server)


def blast_from_client(host, port, *options):
    """Give what ``blast --udp`` ends with on the other host: its status, and what it says."""
    command = ["ip", "netns", "exec", CLIENT, sys.executable, "-m", "echobench", "blast", host, "--port", str(port)]
    done = subprocess.run(
        [*command, "--udp", "--quiet", *options],
        capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(params=[("10.99.0.1", 1000), ("fd99::1", 1280)], ids=["ipv4", "ipv6"])
def narrow(request, network, launch):
    """Give a server, a wire whose MTU is small, and the size of datagrams that the wire takes, less some."""
    host, mtu = request.param
    for name, wire in ((SERVER, "wire-s"), (CLIENT, "wire-c")):
        ip("-n", name, "link", "set", wire, "mtu", str(mtu))
    return host, launch(prefix=["ip", "netns", "exec", SERVER]).port(), mtu - 100


@pytest.mark.parametrize("model", ["--window 32", "--rate 50k", "--flood"])
def test_trains_of_what_the_mtu_does_not_take(narrow, model):
    """They would have to be fragmented, of which a train is not capable."""
    host, port, fits = narrow
    status, said, wrong = blast_from_client(host, port, "--gso", "--size", str(fits + 200), "-d", "1", *model.split())
    assert (status, said) == (1, "")
    assert wrong == (
        f"Error: a train of datagrams of {fits + 200} bytes cannot be sent to {host} port {port}: they are larger than "
        "the route allows, or the interface cannot cut them up; give a smaller --size, or leave out --gso\n"
    )


@pytest.mark.parametrize("more", ["--gso", ""])
def test_what_does_go_over_a_small_mtu(narrow, more):
    """Trains of datagrams that fit; and without trains those that do not, in fragments."""
    host, port, fits = narrow
    size = fits if more else fits + 200
    options = f"{more} --size {size} --window 32 --count 2000 --engine columns".split()
    status, said, wrong = blast_from_client(host, port, *options)
    assert status == 0, wrong
    assert "Nothing lost: every message came back" in said


@pytest.mark.parametrize("engine", ["columns", "portable"])
def test_a_router_that_takes_less_than_the_wire(network, engine):
    """Only its ICMP message tells of it, and the next call on the socket says so."""
    ip("-n", SERVER, "link", "add", "next", "type", "veth", "peer", "name", "next-end")
    ip("-n", SERVER, "addr", "add", "10.97.0.1/24", "dev", "next")
    for wire in ("next", "next-end"):
        ip("-n", SERVER, "link", "set", wire, "mtu", "1000", "up")
    ip("-n", CLIENT, "route", "add", "10.97.0.0/24", "via", "10.99.0.1")
    subprocess.run(["ip", "netns", "exec", SERVER, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
    options = f"--size 1200 -d 1 --engine {engine}".split()
    status, said, wrong = blast_from_client("10.97.0.2", 7, *options)
    assert (status, said) == (1, "")
    assert wrong == (
        "Error: datagrams of 1200 bytes are too long: this system, or a router on the way to 10.97.0.2 port 7, does "
        "not take them whole; give a smaller --size\n"
    )

"""Datagrams from the wire that claim to come from the server's own host."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from pathlib import Path

from hostile.case import DATAGRAMS, Trial, case, installed, linux, root
from hostile.network import Host, two_hosts
from rigs.helpers import ServerProcess, wait_for

VICTIM = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 5353))
    print("listening")
    while True:
        data, source = sock.recvfrom(2000)
        if data == b"are you there?":
            print("here")
        else:
            print("reached by", source[0], "with", data.decode())
"""

FORGE = """
import socket, struct, sys, time

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def frame(mac, source, destination, source_port, port):
    six = ":" in source
    family = socket.AF_INET6 if six else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    payload = source.encode().ljust(40)  # an even number of bytes
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", source_port, port, length, 0) + payload
    pseudo = addresses + (struct.pack("!IHBB", length, 0, 0, 17) if six else struct.pack("!BBH", 0, 17, length))
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    if six:
        return mac + struct.pack("!HIHBB", 0x86DD, 0x60000000, length, 17, 64) + addresses + udp
    header = struct.pack("!BBHHHBBH8s", 0x45, 0, 20 + length, 1, 0, 64, 17, 0, addresses)
    return mac + b"\\x08\\0" + header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp

wire, mac, number, times, four, six = sys.argv[1:7]
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind((wire, 0))
    ours = sock.getsockname()[4]
    frames = [
        frame(bytes.fromhex(mac) + ours, source, six if ":" in source else four, 5353, int(number))
        for source in sys.argv[7:]
    ]
    for _ in range(int(times)):
        for each in frames:
            sock.send(each)
        time.sleep(0.001)
"""

MAC = "import socket, sys; s = socket.socket(17, 3); s.bind((sys.argv[1], 0)); print(s.getsockname()[4].hex())"

ASK = """
import socket, sys
answered = 0
for number in range(int(sys.argv[2])):
    for host in sys.argv[3:]:
        address = socket.getaddrinfo(host, int(sys.argv[1]), 0, socket.SOCK_DGRAM)[0]
        with socket.socket(address[0], socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            sock.connect(address[4])
            sock.send(b"%d" % number)
            try:
                answered += sock.recv(100) == b"%d" % number
            except TimeoutError:
                pass
print(answered)
"""


def forge(outside: Host, mac: str, number: int, times: int, four: str, six: str, sources: list[str]) -> None:
    """Send datagrams with these sources, as often, to the server's addresses."""
    outside.run(FORGE, outside.wire, mac, str(number), str(times), four, six, *sources)


def ask(trial: Trial, host: Host, number: int, times: int, *targets: str) -> None:
    """Ask the server as an ordinary client does, which is answered."""
    answered = int(host.run(ASK, str(number), str(times), *targets))
    trial.tried(times * len(targets))
    trial.lost(times * len(targets) - answered)


class Victim:
    """A service on the server's host, of which nobody outside knows."""

    def __init__(self, trial: Trial, host: Host) -> None:
        self.host = host
        self.process = ServerProcess([], cwd=trial.cwd, command=[*host.prefix, sys.executable, "-u", "-c", VICTIM])
        trial.ending.callback(self.process.kill)
        wait_for(lambda: "listening" in self.process.output)

    def reached(self) -> list[str]:
        """Say what has come, up to now: what was sent over loopback before is there before."""
        before = self.process.output.count("here")
        self.host.run(
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
            '.sendto(b"are you there?", ("127.0.0.1", 5353))'
        )
        wait_for(lambda: self.process.output.count("here") > before)
        return [line for line in self.process.lines if line.startswith("reached")]


def trusting(host: Host) -> None:
    """Have the kernel take even what it would refuse itself, as some containers' networks need it."""
    for setting in ("all.route_localnet=1", "all.accept_local=1", "all.rp_filter=0", f"{host.wire}.rp_filter=0"):
        host.run(
            "import sys; open('/proc/sys/net/ipv4/conf/' + sys.argv[1], 'w').write(sys.argv[2])",
            *setting.replace(".", "/").split("="),
        )


OWN = ["::", "fd99::1", "fe80::1", "::1", "::ffff:127.0.0.1", "::ffff:10.99.0.1", "::ffff:0.0.0.0"]
OWN += ["0.0.0.0", "10.99.0.1", "127.0.0.1", "127.8.8.8", "10.99.0.255", "255.255.255.255", "224.0.0.1", "ff02::1"]


@case(
    DATAGRAMS,
    done="datagrams from the wire with the server's own, loopback, unspecified and group addresses as their source, "
    "to a kernel that takes even those; with and without a rate, and with an address that came later",
    holds="nothing reaches a service on the server's own host; everybody else is answered, the host itself too",
    unit="datagrams",
    short=600,
    long=60_000,
    needs=[linux, root, installed("ip")],
)
def outsiders(trial: Trial) -> None:
    chance = random.Random(5353)
    with two_hosts() as (inside, outside):
        trusting(inside)
        victim = Victim(trial, inside)
        mac = inside.run(MAC, inside.wire)
        ways: list[tuple[str, ...]] = [
            (),
            ("--udp-rate", "1000000"),
            ("--interface", "10.99.0.1", "--interface", "fd99::1"),
        ]
        for number, options in enumerate(ways):
            server = trial.launch(*options, prefix=inside.prefix)
            port = server.port()
            fresh = f"fd99::77{number}"
            inside.ip("addr", "add", f"{fresh}/64", "dev", inside.wire, "nodad")
            time.sleep(0.05)  # until the server has heard of it
            sources = [*OWN, fresh]
            times = max(1, trial.amount // len(ways) // len(sources))
            chance.shuffle(sources)
            forge(outside, mac, port, times, inside.ipv4, inside.ipv6, sources)
            trial.tried(times * len(sources))
            local = [] if "--interface" in options else ["127.0.0.1", "::1", f"fe80::1%{inside.wire}", fresh]
            ask(trial, inside, port, 3, inside.ipv4, inside.ipv6, *local)
            ask(trial, outside, port, 3, inside.ipv4, inside.ipv6)
            assert victim.reached() == []
            inside.ip("addr", "del", f"{fresh}/64", "dev", inside.wire)
            outside.ip("addr", "add", f"{fresh}/64", "dev", outside.wire, "nodad")
            ask(trial, outside, port, 1, inside.ipv6)  # its source may be the address that was the server's
            server.stop()
            assert "Traceback" not in server.output, server.output


ACTIVATED = """
import os, pathlib, socket, sys, time
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
sock.bind(("::", 0))
print("bound port", sock.getsockname()[1], flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@case(
    DATAGRAMS,
    done="the same, waiting in a socket that is handed to the server with them, before an ordinary one",
    holds="nothing reaches a service on the server's own host; the ordinary one is answered",
    unit="datagrams",
    short=20,
    long=160,  # what a receive buffer of the usual size holds, with one more
    needs=[linux, root, installed("ip")],
)
def outsiders_that_wait(trial: Trial) -> None:
    with two_hosts() as (inside, outside):
        trusting(inside)
        victim = Victim(trial, inside)
        mac = inside.run(MAC, inside.wire)
        go = Path(trial.cwd, "go")
        command = [*inside.prefix, sys.executable, "-c", ACTIVATED, str(go), *ServerProcess.TWISTD[1:]]
        command += ["-n", "--pidfile=", "echobench", trial.kind.option, trial.engine]
        server = ServerProcess([], cwd=trial.cwd, command=command)
        trial.ending.callback(server.kill)
        wait_for(lambda: "bound port" in server.output)
        port = int(server.output.rpartition(" ")[2])
        times = max(1, trial.amount // len(OWN))
        forge(outside, mac, port, times, inside.ipv4, inside.ipv6, OWN)
        trial.tried(times * len(OWN))
        with contextlib.ExitStack() as stack:
            waiting = outside.start(ASK, str(port), "1", inside.ipv6)
            stack.callback(waiting.kill)
            time.sleep(0.2)  # until it has asked
            go.touch()
            server.wait_ready()
            answer, _ = waiting.communicate(timeout=110)
        trial.tried(1)
        trial.lost(1 - int(answer))
        ask(trial, outside, port, 1, inside.ipv4)
        assert victim.reached() == []
        assert "Traceback" not in server.output, server.output

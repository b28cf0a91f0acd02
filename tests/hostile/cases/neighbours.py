"""Forged sources on the link that nobody has: the kernel holds the answers to them until it gives up."""

from __future__ import annotations

import re

from hostile.case import DATAGRAMS, Trial, case, installed, linux, root
from hostile.network import Host, two_hosts
from rigs.helpers import wait_for

FORGE = """
import socket, struct, sys, time

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def frame(source, destination, source_port, port):
    six = ":" in source
    family = socket.AF_INET6 if six else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    udp = struct.pack("!HHHH", source_port, port, 9, 0) + b"x"
    pseudo = addresses + struct.pack("!IHBB", 9, 0, 0, 17) if six else addresses + struct.pack("!BBH", 0, 17, 9)
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp + b"\\0") or 0xFFFF) + udp[8:]
    if six:
        return struct.pack("!IHBB", 0x60000000, 9, 17, 64) + addresses + udp
    header = struct.pack("!BBHHHBBH8s", 0x45, 0, 29, 1, 0, 64, 17, 0, addresses)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp

wire, mac, server, port, rate, *sources = sys.argv[1:]
kind = b"\\x86\\xdd" if ":" in server else b"\\x08\\0"
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind((wire, 0))
    ours = sock.getsockname()[4]
    ethernet = bytes.fromhex(mac) + ours + kind
    frames = [ethernet + frame(source, server, 20000, int(port)) for source in sources]
    began, sent = time.monotonic(), 0
    while True:
        while sent < (time.monotonic() - began) * float(rate):
            sock.send(frames[sent % len(frames)])
            sent += 1
        time.sleep(0.001)
"""

ASK = """
import socket, sys, threading, time
host, port, number, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
waits = {}
sent = {}
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(10)
    sock.connect((host, port))

    def read():
        try:
            while len(waits) < number:
                data = sock.recv(100)
                waits.setdefault(int(data), time.monotonic() - sent[int(data)])
        except TimeoutError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    began = time.monotonic()
    for i in range(number):
        time.sleep(max(0, began + i / rate - time.monotonic()))
        sent[i] = time.monotonic()
        sock.send(b"%d" % i)
    reader.join()
ordered = sorted(waits.values())
print(len(ordered), ordered[min(len(ordered) - 1, int(0.99 * number))] if ordered else 99)
"""

MAC = "import socket, sys; s = socket.socket(17, 3); s.bind((sys.argv[1], 0)); print(s.getsockname()[4].hex())"

FORGED = 1000  # datagrams a second
SLOWEST = 1.0  # seconds: what a busy machine may take, and not what the kernel waits for a neighbour (3 s)


def besieged(trial: Trial, family: str, sources: list[str], *options: str) -> None:
    """Ask as an ordinary client while somebody forges sources on the link."""
    servers, outside = trial.ending.enter_context(two_hosts())
    mac = servers.run(MAC, servers.wire)
    server = trial.launch("--stats-interval", "0.2", *options, prefix=servers.prefix)
    target = getattr(servers, family)
    forger = outside.start(FORGE, outside.wire, mac, target, str(server.port()), str(FORGED), *sources)
    trial.ending.enter_context(forger)
    trial.ending.callback(forger.kill)
    wait_for(lambda: re.search(r"drops=.*neighbour_unknown:\d", server.output))
    answered, slow = outside.run(
        ASK, target, str(server.port()), str(trial.amount), "200", limit=60 + trial.amount / 100
    ).split()
    trial.tried(trial.amount)
    if int(answered) < trial.amount - trial.amount // 120:  # 595 of 600: UDP may lose some on a busy machine
        trial.lost(trial.amount - int(answered))
    assert float(slow) < SLOWEST


def link(host: Host, family: str, number: int) -> list[str]:
    """Name addresses on the link that nobody has."""
    stem = getattr(host, family).rpartition(":" if family == "ipv6" else ".")[0]
    return [f"{stem}{':' if family == 'ipv6' else '.'}{100 + i}" for i in range(number)]


def both(trial: Trial, number: int, *options: str) -> None:
    """Do it over both families."""
    for family in ("ipv4", "ipv6"):
        host = Host("", "", "10.99.0.1", "fd99::1", "")
        besieged(trial, family, link(host, family, number), *options)


FORGERY = "sources on the link that nobody has, at 1,000 datagrams of one byte a second, over IPv4 and over IPv6"
NEEDS = (linux, root, installed("ip"))


@case(
    DATAGRAMS,
    done=f"five forged {FORGERY}",
    holds="the answers to others neither wait behind theirs nor are dropped; the refused ones are counted",
    unit="datagrams",
    short=600,
    long=12_000,
    needs=NEEDS,
)
def unresolvable_neighbours(trial: Trial) -> None:
    both(trial, 5)


@case(
    DATAGRAMS,
    done=f"100 forged {FORGERY}, with --udp-rate",
    holds="the same",
    unit="datagrams",
    short=600,
    long=12_000,
    needs=NEEDS,
)
def many_unresolvable_neighbours_and_a_rate(trial: Trial) -> None:
    # Over IPv6, all of a link are one source, the client among them: 1,200 datagrams a second.
    both(trial, 100, "--udp-rate", "2000")

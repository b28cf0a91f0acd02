"""Checks of the network's settings: buffers, queues, ports, address families, connection tracking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..defaults import BACKLOG, RECEIVE_BUFFER
from .facts import Facts, setting
from .finding import USES, Finding, Level, Use

SEND_BUFFER: Final = 1 << 20
PORTS: Final = 50_000
MANY: Final[tuple[Use, ...]] = ("many-connections",)
BY_CARD: Final[tuple[Use, ...]] = ("lan", "many-connections", "latency")
IP_SYSCTL: Final = "ip-sysctl.rst (kernel.org/doc/Documentation/networking)"
NET_SYSCTL: Final = "net.rst (kernel.org/doc/Documentation/admin-guide/sysctl)"


def check(facts: Facts) -> Iterator[Finding]:
    """Look at everything here."""
    yield from _buffers(facts)
    yield from _queues(facts)
    yield from _softnet(facts)
    yield from _ports(facts)
    yield from _families(facts)
    yield from _tracking(facts)


def _at_least(
    facts: Facts, name: str, least: int, *, why: str, source: str, uses: tuple[Use, ...]
) -> Iterator[Finding]:
    """Check that a number of sysctl is no lower than it should be."""
    value = facts.sysctl(name)
    if value is None:
        return
    low = value < least
    yield Finding(
        name=name,
        level="bad" if low else "good",
        seen=f"{value:,}",
        why=why,
        source=source,
        uses=uses,
        change=setting(name, least) if low else None,
        undo=setting(name, value) if low else None,
    )


def _buffers(facts: Facts) -> Iterator[Finding]:
    yield from _at_least(
        facts,
        "net.core.rmem_max",
        RECEIVE_BUFFER,
        why="A UDP socket gets no larger receive buffer than this, and what finds it full is lost: "
        f"the server and the load ask for {RECEIVE_BUFFER >> 20} MiB.",
        source="socket(7)",
        uses=("loopback", "lan", "latency"),
    )
    yield from _at_least(
        facts,
        "net.core.wmem_max",
        SEND_BUFFER,
        why="The server enlarges a full UDP send buffer when unreachable neighbours fill it, up to this.",
        source="socket(7)",
        uses=("lan",),
    )


def _queues(facts: Facts) -> Iterator[Finding]:
    yield from _at_least(
        facts,
        "net.core.somaxconn",
        BACKLOG,
        why=f"The queue of connections that wait to be accepted is cut to it; the server asks for {BACKLOG:,}.",
        source="listen(2)",
        uses=MANY,
    )
    if facts.sysctl("net.ipv4.tcp_syncookies") == 0:  # with them, the kernel needs no place for such a connection
        yield from _at_least(
            facts,
            "net.ipv4.tcp_max_syn_backlog",
            BACKLOG,
            why="While so many connections are being made, others have their first packet dropped, and try again a "
            "second later.",
            source=IP_SYSCTL,
            uses=MANY,
        )


def _softnet(facts: Facts) -> Iterator[Finding]:
    """Look at each CPU's counts: packets, those dropped, and how often the budget was used up (in hexadecimal)."""
    rows = [row for row in facts.table("proc/net/softnet_stat") if len(row) >= 3]
    if not rows:
        return
    try:
        dropped, squeezed = (sum(int(row[column], 16) for row in rows) for column in (1, 2))
    except ValueError:
        return
    backlog, budget = facts.sysctl("net.core.netdev_max_backlog"), facts.sysctl("net.core.netdev_budget")
    yield Finding(
        name="packets dropped before a CPU took them",
        level="bad" if dropped else "good",
        seen=f"{dropped:,} since the start",
        why="Loopback and packets that one CPU hands to another wait in a queue of netdev_max_backlog packets for each "
        "CPU; what finds it full is lost.",
        source=NET_SYSCTL,
        change=setting("net.core.netdev_max_backlog", 10 * backlog) if dropped and backlog else None,
        undo=setting("net.core.netdev_max_backlog", backlog) if dropped and backlog else None,
    )
    yield Finding(
        name="rounds of the network softirq that ran out of budget",
        level="note" if squeezed else "good",
        seen=f"{squeezed:,} since the start",
        why="The kernel handles so many packets, or so many microseconds of them, and then lets others run: more came.",
        source=NET_SYSCTL,
        uses=BY_CARD,
        change=setting("net.core.netdev_budget", 2 * budget) if squeezed and budget else None,
        undo=setting("net.core.netdev_budget", budget) if squeezed and budget else None,
    )


def _ports(facts: Facts) -> Iterator[Finding]:
    ends = facts.numbers("proc/sys/net/ipv4/ip_local_port_range")
    if ends is not None and len(ends) == 2:
        number = ends[1] - ends[0] + 1
        few = number < PORTS
        name = "net.ipv4.ip_local_port_range"
        yield Finding(
            name=name,
            level="bad" if few else "good",
            seen=f"{ends[0]} to {ends[1]}: {number:,} ports",
            why="Each connection of a load from one address to one server takes a port, and keeps it for a minute "
            f"after its end: {number // 60:,} new connections a second at most.",
            source=IP_SYSCTL,
            uses=MANY,
            change=setting(name, "10000 65535") if few else None,
            undo=setting(name, f"{ends[0]} {ends[1]}") if few else None,
        )
    reuse = facts.sysctl("net.ipv4.tcp_tw_reuse")
    if reuse is not None:
        yield Finding(
            name="net.ipv4.tcp_tw_reuse",
            level="bad" if reuse == 0 else "good",
            seen={0: "0: never", 1: "1: for all addresses", 2: "2: for loopback"}.get(reuse, str(reuse)),
            why="A load that opens connections one after the other may use a port again a second after its last "
            "connection's end, and else after a minute.",
            source=IP_SYSCTL,
            uses=MANY,
            change=setting("net.ipv4.tcp_tw_reuse", 2) if reuse == 0 else None,
            undo=setting("net.ipv4.tcp_tw_reuse", 0) if reuse == 0 else None,
        )


def _families(facts: Facts) -> Iterator[Finding]:
    if (only := facts.sysctl("net.ipv6.bindv6only")) is not None:
        yield Finding(
            name="net.ipv6.bindv6only",
            level="good",
            seen=f"{only}",
            why="With 1, a socket for all addresses serves IPv6 only, unless its program asks for both, as echobench "
            "does.",
            source=IP_SYSCTL,
        )
    disabled = facts.sysctl("net.ipv6.conf.all.disable_ipv6")
    off = disabled == 1 or not facts.exists("proc/net/if_inet6")
    seen = "switched off" if disabled == 1 else "not in this kernel" if off else "there"
    yield Finding(
        name="IPv6",
        level="note" if off else "good",
        seen=seen,
        why="Clients with IPv6 only cannot reach the server, and figures are of IPv4.",
        source=IP_SYSCTL,
        uses=USES,
        change=setting("net.ipv6.conf.all.disable_ipv6", 0) if disabled == 1 else None,
        undo=setting("net.ipv6.conf.all.disable_ipv6", 1) if disabled == 1 else None,
    )


def _tracking(facts: Facts) -> Iterator[Finding]:
    count, most = (facts.sysctl(f"net.netfilter.nf_conntrack_{name}") for name in ("count", "max"))
    if count is None or most is None:
        return
    full = count >= 0.8 * most
    level: Level = "bad" if full else "note"
    name = "net.netfilter.nf_conntrack_max"
    yield Finding(
        name="connection tracking",
        level=level,
        seen=f"{count:,} of {most:,} entries",
        why="Each packet is looked up in a table, each new flow takes a place for seconds to days, and a full table "
        "drops new flows. A firewall or a container engine has loaded it.",
        source="nf_conntrack-sysctl.rst (kernel.org/doc/Documentation/networking)",
        change=setting(name, 4 * most) if full else "for the echo port only: nft add rule … udp dport 7 notrack",
        undo=setting(name, most) if full else None,
    )

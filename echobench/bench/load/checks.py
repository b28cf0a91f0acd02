"""Checks before a run: the host's address, and this machine's files and ports."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

from ...values import shown
from ..run.plan import LARGEST_IPV4, Plan, shares
from . import LoadError
from .worker import SPARE


def resolve(plan: Plan) -> list[tuple[str, int]]:
    """Return the addresses of a plan's host, each with the port, in the resolver's order. Raises LoadError."""
    host = plan.host.removeprefix("[").removesuffix("]")
    if not host:
        raise LoadError("the host is empty: give the name or the address of a server")
    kind = socket.SOCK_DGRAM if plan.transport == "udp" else socket.SOCK_STREAM
    family = _family(plan)
    try:
        found = socket.getaddrinfo(host, plan.port, family, kind)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        of = {socket.AF_INET: "IPv4 ", socket.AF_INET6: "IPv6 "}.get(family, "")
        raise LoadError(
            f"{shown(plan.host)} has no {of}address: {why}; give an address, or a name known here"
        ) from None
    texts = dict.fromkeys(_text(each[4]) for each in found)
    size = int(plan.sizes().max())
    if plan.transport == "udp" and size > LARGEST_IPV4:
        texts = dict.fromkeys(text for text in texts if ":" in text)
        if not texts:
            raise LoadError(
                f"a datagram of {size} bytes needs IPv6, and {plan.host} has no such address: over IPv4 it has at most "
                f"{LARGEST_IPV4}"
            )
    return [(text, plan.port) for text in texts]


def _text(address: tuple[Any, ...]) -> str:
    """Write an address of getaddrinfo, with its zone (RFC 4007)."""
    text = str(address[0])
    scope = address[3] if len(address) == 4 else 0
    return f"{text}%{socket.if_indextoname(int(scope))}" if scope and "%" not in text else text


def _family(plan: Plan) -> socket.AddressFamily:
    """Return the address family that the plan asks for, itself or by its sources; else AF_UNSPEC.

    Raises LoadError.
    """
    versions = {ipaddress.ip_address(source.partition("%")[0]).version for source in plan.sources}
    if len(versions) > 1:
        raise LoadError("the --source addresses are of both families, and the server's is of one: leave out the others")
    if plan.family is not None and versions and plan.family not in versions:
        raise LoadError(f"the source {plan.sources[0]} cannot send over IPv{plan.family}: leave out -{plan.family}")
    version = versions.pop() if versions else plan.family
    return {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}[version]


def check(plan: Plan) -> None:
    """Check that this machine has enough open files and ports.

    Raises LoadError with the number, and what to do.
    """
    hard = descriptor_limit()
    most = max(share.flows for share in shares(plan)) + SPARE
    if hard is not None and most > hard:
        raise LoadError(
            f"{most} files would be open in one process, and the hard limit is {hard}: "
            f"raise it (ulimit -Hn {most}), or take more --processes or fewer flows"
        )
    ports = ephemeral_ports()
    if plan.source_ports is None and ports is not None:
        have = (ports[1] - ports[0] + 1) * max(1, len(plan.sources))
        if plan.flows > have:
            raise LoadError(
                f"{plan.flows} flows to one destination need as many source ports, and net.ipv4.ip_local_port_range "
                f"gives {have}: add a --source, give --source-ports 1024-65535, or widen the range"
            )


def descriptor_limit() -> int | None:
    """Return a process's hard limit on open files; None if there is none."""
    try:
        import resource
    except ImportError:
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else int(hard)


def ephemeral_ports(path: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> tuple[int, int] | None:
    """Return the range of ephemeral ports (ip(7)); None where it is not known.

    The range holds for IPv6 too.
    """
    try:
        first, last = map(int, path.read_text().split())
    except (OSError, ValueError):
        return None
    return first, last

"""Writes where a server listens, in one line, as in its log."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Literal

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import Logger


def in_one_line(addresses: Iterable[tuple[str, Any]]) -> str:
    """Write pairs of a kind and a Twisted address.

    For example: ``port=7 tcp=[::]:7 udp=[::]:7``.
    """
    found: dict[str, list[str]] = {}
    numbers = []
    for kind, address in addresses:
        found.setdefault(kind, []).append(_text(address))
        numbers += [address.port] if kind in ("tcp", "udp") and hasattr(address, "port") else []
    first = [f"port={numbers[0]}"] if numbers else []
    return " ".join(first + [f"{kind}={','.join(texts)}" for kind, texts in found.items()])


def address_of(sock: socket.socket) -> Any:
    """Return the Twisted address that a socket is bound to."""
    name = sock.getsockname()
    kind: Literal["TCP", "UDP"] = "UDP" if sock.type == socket.SOCK_DGRAM else "TCP"
    if sock.family == socket.AF_INET6:
        return IPv6Address(kind, *name)
    return IPv4Address(kind, *name) if sock.family == socket.AF_INET else UNIXAddress(name)


def _text(address: Any) -> str:
    """Write a Twisted address as a user would type it.

    For example: ``[::]:7``, ``0.0.0.0:7``, or a path.
    """
    if hasattr(address, "host"):
        return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
    name = getattr(address, "name", address)
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def warn_of_faults(log: Logger, rules: Iterable[str]) -> None:
    """Log that the server misbehaves on purpose, and how."""
    log.warn(
        "FAULTS ON PURPOSE: this server misbehaves as asked: {faults}",
        faults="; ".join(rules),
        event="faults_on_purpose",
    )


def announce(log: Logger, where: str) -> None:
    """Log that the server accepts connections, and where."""
    log.info("echobench ready {where}", where=where, event="server_ready")

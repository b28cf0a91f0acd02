"""Sentences for connections that failed: what went wrong, and what to do."""

from __future__ import annotations

import errno
import socket
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error

from ..run.plan import Plan
from . import LoadError
from .sources import bind_failure, binding

UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
UNBOUND = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
OURS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE)


def named(plan: Plan, address: tuple[str, int]) -> str:
    """Write which server is meant: the host as it was given, and its address if that is another."""
    host = plan.host.removeprefix("[").removesuffix("]")
    return f"{host} port {address[1]}" if host == address[0] else f"{host} ({address[0]}) port {address[1]}"


def connect_failure(plan: Plan, address: tuple[str, int], flow: int, failed: BaseException, within: float) -> LoadError:
    """Return the error of a connection that failed.

    ``within`` is its time limit in seconds.
    """
    where = named(plan, address)
    number = number_of(failed)
    if number in UNBOUND and binding(plan, flow) == ("", 0):
        return no_source(where, address)
    if isinstance(failed, error.ConnectBindError) or number in OURS:
        return bind_failure(binding(plan, flow), number, str(failed))
    if isinstance(failed, VerificationError):
        name = plan.server_name or plan.host
        return LoadError(
            f"the certificate of {where} is not for {name}: give the name that it is for with --server-name, "
            f"or accept any certificate with --insecure"
        )
    if isinstance(failed, SSL.Error):
        return _tls_failure(where, failed)
    secure = "; if it speaks no TLS, leave out --tls" if plan.transport == "tls" else ""
    sentence = f"cannot be reached: {failed}"
    if number in UNREACHABLE:
        sentence = f"cannot be reached from here: check the address and the route ({failed})"
    elif isinstance(failed, (error.TimeoutError, error.TCPTimedOutError)):
        sentence = f"did not answer within {within:g} s: check the address, and firewalls on the way"
    elif isinstance(failed, error.ConnectionRefusedError):
        sentence = "refuses connections: check that the server is running, and on that port"
    elif isinstance(failed, error.ConnectionClosed):
        sentence = f"closed a connection before the load began: see its log{secure}"
    return LoadError(f"{where} {sentence}")


def no_source(where: str, address: tuple[str, int]) -> LoadError:
    """Return the error of a socket for which the system had no source, which nobody asked for."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(socket.getaddrinfo(*address, family, socket.SOCK_DGRAM)[0][4])
    except OSError:
        version = 6 if family == socket.AF_INET6 else 4
        return LoadError(
            f"{where} cannot be reached from here: this machine has no IPv{version} address to send from; "
            f"turn IPv{version} on, or give an address of the other version"
        )
    return LoadError(
        f"no source port is left for more flows to {where}: add a --source, give fewer --flows, "
        "or widen net.ipv4.ip_local_port_range"
    )


def ours(failed: BaseException) -> bool:
    """Whether this machine is the reason for the failure, and not the server."""
    return isinstance(failed, error.ConnectBindError) or number_of(failed) in (*OURS, *UNREACHABLE)


def number_of(failed: BaseException) -> int | None:
    """Return an error's errno, wherever Twisted has put it; None without one."""
    number: Any = getattr(failed, "osError", None)
    if not isinstance(number, int):
        number = failed.args[0] if failed.args else None
    return number if isinstance(number, int) else None


def too_long(plan: Plan, address: tuple[str, int]) -> LoadError:
    """Return the error for datagrams that are too long.

    They are over this system's limit, or over one that a router reported.
    """
    return LoadError(
        f"datagrams of {plan.size} bytes are too long: this system, or a router on the way to {named(plan, address)}, "
        "does not take them whole; give a smaller --size"
    )


def _tls_failure(where: str, failed: SSL.Error) -> LoadError:
    reasons = [reason for _, _, reason in failed.args[0]] if failed.args and failed.args[0] else []
    why = ", ".join(reasons) or "the connection ended within the handshake"
    if any("certificate verify failed" in reason for reason in reasons):
        return LoadError(
            f"the certificate of {where} cannot be trusted ({why}): no root known here has signed it, or it is out of "
            f"date; name the roots with --ca, or accept any certificate with --insecure"
        )
    return LoadError(f"TLS with {where} failed: {why}; if it speaks no TLS, leave out --tls")

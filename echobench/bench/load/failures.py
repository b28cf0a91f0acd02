"""Sentences for connections that failed: what went wrong, and what to do."""

from __future__ import annotations

import errno
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error

from ..run.plan import Plan
from . import LoadError
from .sources import bind_failure, binding

UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
OURS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE)


def connect_failure(plan: Plan, flow: int, failed: BaseException, within: float) -> LoadError:
    """Return the error of a connection that failed.

    ``within`` is its time limit in seconds.
    """
    where = f"{plan.host} port {plan.port}"
    number = number_of(failed)
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
    if number in UNREACHABLE:
        return LoadError(f"{where} cannot be reached from here: check the address and the route ({failed})")
    secure = "; if it speaks no TLS, leave out --tls" if plan.transport == "tls" else ""
    for kind, sentence in (
        (error.TimeoutError, f"did not answer within {within:g} s: check the address, and firewalls on the way"),
        (error.TCPTimedOutError, f"did not answer within {within:g} s: check the address, and firewalls on the way"),
        (error.ConnectionRefusedError, "refuses connections: check that the server is running, and on that port"),
        (error.ConnectionClosed, f"closed a connection before the load began: see its log{secure}"),
    ):
        if isinstance(failed, kind):
            return LoadError(f"{where} {sentence}")
    return LoadError(f"no connection to {where}: {failed}")


def ours(failed: BaseException) -> bool:
    """Whether this machine is the reason for the failure, and not the server."""
    return isinstance(failed, error.ConnectBindError) or number_of(failed) in (*OURS, *UNREACHABLE)


def number_of(failed: BaseException) -> int | None:
    """Return an error's errno, wherever Twisted has put it; None without one."""
    number: Any = getattr(failed, "osError", None)
    if not isinstance(number, int):
        number = failed.args[0] if failed.args else None
    return number if isinstance(number, int) else None


def too_long(plan: Plan) -> LoadError:
    """Return the error for datagrams that are too long.

    They are over this system's limit, or over one that a router reported.
    """
    return LoadError(
        f"datagrams of {plan.size} bytes are too long: this system, or a router on the way to {plan.host}, does not "
        "take them whole; give a smaller --size"
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

"""Source addresses and ports of a run's flows: one rule for every engine.

Flow number k of the run, counted over all its processes, is bound to the source address number ``k % len(sources)`` and
to the source port ``first + k // len(sources)``. With addresses A and B and ports from 9000 on, the flows are A:9000,
B:9000, A:9001, B:9001, ...: no two are the same, and they do not depend on the number of processes. Without addresses
the system chooses the address, without ports the port.
"""

from __future__ import annotations

import errno

from ..run.plan import Plan
from . import LoadError


def binding(plan: Plan, flow: int) -> tuple[str, int]:
    """Return the (address, port) that a flow is bound to.

    "" and 0 leave the choice to the system.
    """
    addresses = plan.sources or ("",)
    port = plan.source_ports[0] + flow // len(addresses) if plan.source_ports else 0
    return addresses[flow % len(addresses)], port


def check_family(plan: Plan, host: str) -> None:
    """Check that the sources have the IP family of the server's address.

    Raises LoadError.
    """
    for source in plan.sources:
        if (":" in source) != (":" in host):
            raise LoadError(
                f"the source {source} cannot send to {host}, which is of the other IP family: "
                f"give a --source of the same one"
            )


def bind_failure(bound: tuple[str, int], number: int | None, why: str) -> LoadError:
    """Return the error of a flow that could not be bound.

    ``number`` is its errno, ``why`` the system's text.
    """
    address, port = bound
    where = f"the source {address or 'any address'} port {port or 'any'}"
    descriptors = "there are no descriptors left for more flows: raise the limit (ulimit -n), or give fewer"
    anyhow = {
        errno.EMFILE: descriptors,
        errno.ENFILE: descriptors,
        errno.EAFNOSUPPORT: "this system lacks the server's version of IP: give an address of the other version",
    }
    privilege = f"{where} needs privilege: give --source-ports from 1024 on"
    ours = {
        errno.EADDRINUSE: f"{where} is in use: give other --source-ports, or stop what uses it",
        errno.EADDRNOTAVAIL: f"{where} is not of this machine: give a --source that `ip address` shows",
        errno.EACCES: privilege,
        errno.EPERM: privilege,
    }
    if bound == ("", 0):  # nobody asked for a source: say nothing of options that were not given
        return LoadError(anyhow.get(number or 0, f"no socket can be opened to send from: {why}"))
    return LoadError({**anyhow, **ours}.get(number or 0, f"{where} cannot be used: {why}"))

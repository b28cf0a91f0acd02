"""Decides what a comparison runs: from options, a stored comparison and defaults."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final

import attrs
import click

from ...host.examination import warnings
from ...host.ownership import is_ours
from ...sockets import is_address
from ...values import shown
from ..command import family
from ..run.plan import PlanError
from . import profiles
from .analysis.comparison import IDEAL, Comparison, Load, Subject
from .options import AUTO, DEFAULTS
from .precise import LEAST, Until
from .server import placement
from .server.lifecycle import Setting
from .server.subject import ideal, workers_of
from .together import check_loads, check_rounds


@attrs.frozen(kw_only=True)
class Order:
    """What to compare, and how."""

    subjects: tuple[Subject, ...]
    loads: tuple[Load, ...]
    rounds: int
    """How many; with ``until`` the least number."""
    extra_rounds: int
    seed: int
    setting: Setting
    idle_connections: int
    count_calls: float
    """Seconds for which system calls are counted under each load; 0 for not at all."""
    notes: tuple[str, ...] = ()
    reference: str = IDEAL
    until: Until | None = None
    is_checked: bool = True
    """Whether the subjects are checked first, by verify's essential clauses: one that fails has no ratio."""
    pairs: frozenset[tuple[str, str]] | None = None
    """Which subject runs under which load, by their names; None for each under each."""

    def has(self, subject: str, load: str) -> bool:
        """Tell whether a subject runs under a load."""
        return self.pairs is None or (subject, load) in self.pairs


LOOPBACK: Final = "127.0.0.1"


def stored_host(stored: Comparison | None) -> str | None:
    """Give the address at which the servers of a stored comparison listened; None if it is not known or not here."""
    hosts = [run.result.plan.host for run in stored.runs if run.subject == IDEAL and run.result] if stored else []
    return next((each for each in hosts if is_address(each) and is_ours(each)), None)


def host_of(given: str | None, version: int | None) -> str:
    """Give the address where servers listen. Raises click.UsageError if it is of another version of IP than asked for.

    A name stays as it is, unless -4 or -6 choose one of its addresses.
    """
    if given is None:
        return "::1" if version == 6 else LOOPBACK
    if version is None:
        return given
    kind = socket.AF_INET6 if version == 6 else socket.AF_INET
    try:
        return str(socket.getaddrinfo(given, None, kind, socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):
        raise click.UsageError(f"--host {given} has no IPv{version} address, which -{version} asks for") from None


def make_order(
    options: dict[str, Any], named: list[Subject], stored: Comparison | None, *, away: bool = False
) -> Order:
    """Make the order. Raises click.UsageError.

    Options override the stored comparison, and that overrides the defaults. ``away`` says that other machines send the
    load: the CPUs that it is pinned to are theirs.
    """
    _check(options)
    check_rounds(options)
    given = {name: value for name, value in options.items() if value is not None}
    known = {**DEFAULTS, **({"rounds": stored.rounds, "seed": stored.seed} if stored else {}), **given}
    automatic = known["rounds"] == AUTO
    loads = [load for several in options["loads"] for load in several]
    if not loads:
        loads = list(stored.loads) if stored else profiles.parse("small,one")
    if options["duration"] is not None or options["warmup"] is not None:
        try:
            loads = [profiles.timed(load, duration=options["duration"], warmup=options["warmup"]) for load in loads]
        except PlanError as error:
            raise click.UsageError(str(error)) from None
    check_loads(loads, options)
    before = {each.name: each for each in stored.subjects} if stored else {}
    subjects = {**before, **{each.name: each for each in named}}
    workers = _workers(options["ideal_workers"], before)
    subjects = {IDEAL: ideal(workers), **{name: each for name, each in subjects.items() if name != IDEAL}}
    for kind, names in (("subject", [each.name for each in named]), ("load", [each.name for each in loads])):
        for name in names:
            if names.count(name) > 1:
                raise click.UsageError(f"two {kind}s have the name {name!r}: give each its own name")
    reference = chosen_reference(options["reference"], list(subjects), stored)
    server, load_cpus = options["server_cpus"] or (), options["load_cpus"] or ()
    if stored and not (server or load_cpus):
        server, load_cpus = stored.server_cpus, stored.load_cpus
    there = placement.cores(placement.allowed())
    if missing := sorted({*server, *(() if away else load_cpus)} - set(placement.allowed())):
        if stored is None or options["server_cpus"] or options["load_cpus"]:
            raise click.UsageError(f"CPU {missing[0]} is not available: choose from {placement.allowed()}")
        server, load_cpus = (), ()
    theirs = load_cpus
    server, load_cpus, notes = placement.place(server, () if away else load_cpus, there)
    if away:
        load_cpus, notes = theirs, []
    if workers > 1 and server and len(server) < workers:
        notes.append(
            f"The ideal has {workers} workers on {len(server)} CPU{'s' * (len(server) > 1)}: they share what one would "
            "use (--server-cpus)."
        )
    version = family(options["four"], options["six"])
    host = known.get("host") or (stored_host(stored) if version is None else None)
    if away and host is None:
        raise click.UsageError("other machines send the load: add --host with this machine's address that they reach")
    setting = Setting(
        server_cpus=server,
        load_cpus=load_cpus,
        start_timeout=known["start_timeout"],
        host=host_of(host, version),
        family=version,
    )
    return Order(
        subjects=tuple(subjects.values()),
        loads=tuple(loads),
        rounds=LEAST if automatic else known["rounds"],
        until=Until(precision=known["precision"], seconds=known["max_time"]) if automatic else None,
        extra_rounds=known["extra_rounds"],
        seed=known["seed"],
        setting=setting,
        idle_connections=known["idle_connections"],
        count_calls=known["count_calls"],
        notes=(*notes, *warnings()),
        reference=reference,
    )


def _workers(given: int | None, before: Mapping[str, Subject]) -> int:
    """Give the number of the ideal's workers. Raises click.UsageError if it is not the stored one."""
    if IDEAL not in before:
        return given or 1
    stored = workers_of(before[IDEAL])
    if given not in (None, stored):
        raise click.UsageError(
            f"--ideal-workers {given}: the ideal of the stored comparison has {stored}, and ratios to another one "
            "cannot be compared with its: leave the option out"
        )
    return stored


def chosen_reference(given: str | None, names: list[str], stored: Comparison | None) -> str:
    """Give the name of the reference: as given, else as stored, else the ideal. Raises click.UsageError."""
    reference = given or (stored.reference if stored else IDEAL)
    if given is not None and given not in names:
        raise click.UsageError(f"--reference: {shown(given)} is no subject: choose from {', '.join(names)}")
    return reference


BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "rounds": (1, 10_000),
    "ideal_workers": (1, 256),
    "extra_rounds": (0, 10_000),
    "precision": (0.001, 1),
    "max_time": (1, 366 * 86400),
    "start_timeout": (0.001, 3600),
    "idle_connections": (0, 60_000),
    "count_calls": (0, 3600),
}
"""The least and the greatest value of options that are numbers. Idle connections have one source address."""


def _check(options: dict[str, Any]) -> None:
    """Refuse numbers and addresses that make no sense. Raises click.UsageError."""
    for name, (low, high) in BOUNDS.items():
        if options[name] not in (None, AUTO) and not low <= options[name] <= high:
            dashed = name.replace("_", "-")
            raise click.UsageError(f"--{dashed} is at least {low:g} and at most {high:g}, not {options[name]:g}")
    host = options["host"]
    if host is not None and not (is_address(host) and is_ours(host)):
        raise click.UsageError(f"--host is an address of this machine such as 127.0.0.1, not {shown(host)}")

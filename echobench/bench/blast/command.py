"""The command ``echobench blast``: from options to a run, a report and files."""

from __future__ import annotations

from typing import Any

import attrs
import click

from ...host.nic import counts
from ...host.nic.picture import NicError, look
from ..cluster import leader
from ..cluster import options as cluster
from ..command import HOST, family, server
from ..files import csv_target, json_target, open_targets, picture_target, store, takes_output, text_target
from ..load import LoadError, runner
from ..nic.watching import of_run
from ..option import Sectioned, exclude, said
from ..option import given as only_given
from ..printing import complain, printed, report_console
from ..run import verdicts
from ..run.plan import Plan, PlanError
from ..run.result import Result, read
from ..run.stored import ResultError
from ..statuses import INTERRUPTED
from .live import progress_on
from .options import SECTIONS
from .page import blast_page
from .terminal import show

TRANSPORTS = ("tcp", "udp", "tls")
MODELS = {"rate": "open", "flood": "flood", "connect": "connect", "window": "closed"}
"""The models of load, by the option that asks for each."""


def settings(options: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a plan that the options set. Raises click.UsageError."""
    exclude(options, *TRANSPORTS)
    exclude(options, *MODELS)
    exclude(options, "ca", "insecure")
    given = only_given(options)
    given.pop("quiet", None)
    word = given.pop("port_word", None)
    if "host" in given:
        given["host"], port = server(given["host"], word, given.get("port"))
        given |= {} if port is None else {"port": port}
    four, six = given.pop("four", False), given.pop("six", False)
    given |= {"family": family(four, six)} if four or six else {}
    transports = [name for name in TRANSPORTS if given.pop(name, False)]
    models = [name for name in MODELS if name in given]
    if transports:
        given["transport"] = transports[0]
    if models:
        given["model"] = MODELS[models[0]]
        given["rate"] = given.get("rate")
        given.pop("flood", None)
        given.pop("connect", None)
    if "cpus" in given and "processes" not in given:
        given["processes"] = len(given["cpus"])
    return given


def make_plan(options: dict[str, Any], stored: Plan | None) -> Plan:
    """Make the plan from options, a stored plan and the defaults.

    Options override the stored plan. Raises PlanError, and click.UsageError.
    """
    given = settings(options)
    if stored is None and "host" not in given:
        raise click.UsageError("no server to measure: give a HOST, or --from FILE with a stored result")
    before = {} if stored is None else {name: value for name, value in stored.as_dict().items() if name != "machines"}
    plan = Plan(**given) if stored is None else Plan.from_dict({**before, **given})
    _check_effect(given, plan)
    return plan


def _check_effect(given: dict[str, Any], plan: Plan) -> None:
    """Refuse options that would do nothing in this run. Raises click.UsageError."""
    if "arrivals" in given and plan.model != "open":
        raise click.UsageError(f"{said('arrivals')} is of the open model: add --rate")
    for name in ("warmup", "cooldown"):
        if name in given and plan.count is not None:
            raise click.UsageError(
                f"{said(name)} has no effect with --count, which counts every message: leave out one of them"
            )


def _run(
    json: str | None, csv: str | None, html: str | None, png: str | None, stored: str | None, *,
    nic: str | None, **options: Any,
) -> int:  # fmt: skip
    machines = cluster.taken(options)
    if nic is not None and cluster.wanted(machines):
        raise click.UsageError(f"{said('nic')} looks at this machine, and others send: leave it out")
    try:
        before = read(stored).plan if stored else None
        if before is not None and before.machines > 1 and not cluster.wanted(machines):
            raise click.UsageError(cluster.again(before.machines))
        plan = make_plan(options, before)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    except ResultError as error:
        raise click.UsageError(f"--from: {error}") from None
    targets = open_targets(
        ("--json", json, json_target),
        ("--csv", csv, csv_target),
        ("--html", html, lambda path: text_target(path, blast_page)),
        ("--png", png, lambda path: picture_target(path, picture_of)),
    )
    try:
        result = _together(plan, machines, options["quiet"]) if cluster.wanted(machines) else _measure(
            plan, nic, options["quiet"]
        )  # fmt: skip
    except LoadError as error:
        raise click.ClickException(str(error)) from None
    failed = store(targets, result)
    shown = printed(lambda: show(result, report_console(to_error=takes_output(targets))))
    return failed or (INTERRUPTED if result.cut_short else verdicts.status(result)) or shown


def _together(plan: Plan, machines: dict[str, Any], quiet: bool) -> Result:
    """Run a plan on other machines. Raises LoadError."""
    progress = progress_on(quiet)
    with cluster.connected(machines, progress.note) as found:
        return leader.run(plan, found, progress)


def _measure(plan: Plan, nic: str | None, quiet: bool) -> Result:
    """Run a plan, and watch an interface meanwhile. Raises LoadError, and click.UsageError if there is none."""
    if nic is None:
        return runner.run(plan, progress_on(quiet))
    try:
        picture = look(nic)
        before = counts.take(nic)
    except NicError as error:
        raise click.UsageError(f"{said('nic')}: {error}") from None
    result = runner.run(plan, progress_on(quiet))
    try:
        return attrs.evolve(result, nic=of_run(picture, before, result.plan, result.address))
    except NicError as error:  # it has gone meanwhile; the result must not
        complain(f"--nic: {error}")
        return result


def picture_of(result: Result) -> bytes:
    """Give the picture of a result."""
    from .picture import blast_png

    return blast_png(result)


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


blast = Sectioned(
    "blast",
    sections=SECTIONS,
    callback=_command,
    params=[
        *HOST,
        *(option for options in SECTIONS.values() for option in options),
    ],
    help="""Send load to the echo server on HOST, check every byte that comes back, and report rates and latencies.

    Without --rate the load is a closed loop: a connection sends its next message when the last one is answered.
    Numbers may be written 10k or 1M. HOST is a name or an IP address; a port may follow it, as HOST:PORT, [::1]:PORT or
    HOST PORT. Of a name's addresses, the first that can be reached is used.
    The exit status is 0 if all went well, 1 if the run failed or wrong bytes came back, 2 if the options are wrong.
    Ctrl-C ends a run early and reports it, with status 130; a second Ctrl-C exits at once.
    Every option can also be set in the environment: ECHOBENCH_BLAST_RATE is --rate.""",
)

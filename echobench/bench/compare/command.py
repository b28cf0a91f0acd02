"""The command ``echobench compare``: from options to rounds, tables and files."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import attrs
import click

from ..cluster import leader
from ..cluster import options as cluster
from ..files import Target, json_target, open_targets, picture_target, store, takes_output, text_target
from ..load import LoadError
from ..option import Sectioned
from ..printing import printed, report_console
from ..run.result import Result
from ..run.stored import ResultError
from ..statuses import INTERRUPTED
from . import together, unfinished
from .analysis import gate
from .analysis.comparison import Comparison, Load, Run, Subject, read
from .analysis.judge import as_stored, judge
from .formats import compare_csv, compare_markdown
from .live import watch_on
from .making import compare_all
from .options import DEFAULTS, SECTIONS, SUBJECT
from .order import Order, chosen_reference, make_order
from .page import compare_page
from .rounds import Watch
from .terminal import NARROW_WIDTH, WIDTH, show, show_gate, show_side_by_side, titled


def status(comparison: Comparison) -> int:
    """Give the exit status: 0 if the reference and another subject worked.

    1 if all others failed, or the reference did.
    """
    if comparison.cut_short:
        return INTERRUPTED
    rows = judge(comparison)
    works = {row.subject for row in rows if row.verdict not in ("void", "not conformant")}
    others = {each.name for each in comparison.subjects} - {comparison.reference}
    return 0 if comparison.reference in works and (works & others or not others) else 1


def _stored(path: str) -> Comparison:
    try:
        found = read(path)
    except ResultError as error:
        raise click.UsageError(str(error)) from None
    return found if isinstance(found, Comparison) else as_comparison(found)


def _by(comparison: Comparison, reference: str | None) -> Comparison:
    """Give a stored comparison another reference, if one is given. Raises click.UsageError."""
    names = [each.name for each in comparison.subjects]
    return attrs.evolve(comparison, reference=chosen_reference(reference, names, comparison))


def as_comparison(result: Result) -> Comparison:
    """Make a comparison of a result of blast, to show it beside others."""
    plan = result.plan
    name = f"{plan.host}:{plan.port}"
    how = "" if plan.model == "closed" else f" {plan.model}"
    load = Load(name=f"{plan.transport}{how} {plan.flows} x {plan.window}, {plan.size} bytes", plan=plan)
    return Comparison(
        started=result.started,
        environment=result.environment,
        seed=plan.seed,
        rounds=1,
        server_cpus=(),
        load_cpus=plan.cpus,
        subjects=(Subject(name=name, address=name),),
        loads=(load,),
        runs=(Run(subject=name, load=load.name, round=1, place=1, result=result),),
    )


def _compare(subjects: tuple[Subject | str, ...], against: str | None, **options: Any) -> int:
    machines = cluster.taken(options)
    files = [each for each in subjects if isinstance(each, str)]
    named = [each for each in subjects if isinstance(each, Subject)]
    together.check(files, named, {"against": against, **options})
    if files and cluster.wanted(machines):
        raise click.UsageError("stored comparisons are shown, and no load is sent: leave out --cluster and --ssh")
    if files:
        stored_ones = [_by(_stored(path), options["reference"]) for path in files]
        return printed(lambda: show_side_by_side(titled(files, stored_ones)))
    stored = read_baseline(against) if against else None
    if not hasattr(os, "killpg"):
        raise click.ClickException("compare needs a POSIX system to start and stop servers, and this is none")
    before = unfinished.begun(options)
    order = make_order(options, named, before or stored, away=cluster.wanted(machines))
    stored = _by(stored, order.reference) if stored else None
    targets = _targets(options["json"], options["csv"], options["html"], options["png"])
    part = unfinished.Part.beside(options["json"], options["resume"])
    watch = watch_on(options["quiet"], None if order.until else order.rounds)
    with contextlib.ExitStack() as stack:
        comparison = compare_all(_away(order, machines, watch, stack), watch, before, part.keep)
    failed = store(targets, comparison)
    if not failed:
        part.remove()
    wide, to_error = options["wide"], takes_output(targets)
    console = report_console(to_error=to_error, width=WIDTH if wide else NARROW_WIDTH)

    def table() -> None:
        if options["markdown"]:
            click.echo(compare_markdown(comparison), nl=False, err=to_error)
        else:
            show(comparison, console, wide=wide)

    if stored is None or comparison.cut_short:
        shown = printed(table)
        return failed or status(comparison) or shown
    tolerance = DEFAULTS["tolerance"] if options["tolerance"] is None else options["tolerance"]
    longer = DEFAULTS["time_tolerance"] if options["time_tolerance"] is None else options["time_tolerance"]
    findings = gate.gate(stored, comparison, tolerance, longer)
    found = gate.status(findings)

    def report() -> None:
        table()
        show_gate(findings, gate.differences(stored, comparison), console)

    shown = printed(report)
    return failed or status(comparison) or found or shown


def _away(order: Order, machines: dict[str, Any], watch: Watch, stack: contextlib.ExitStack) -> Order:
    """Have other machines send the load, if the options name some. Raises click.ClickException or UsageError."""
    if not cluster.wanted(machines):
        return order
    try:
        found = stack.enter_context(cluster.connected(machines, watch.note))
    except LoadError as error:
        raise click.ClickException(str(error)) from None
    number = len(found.hosts)
    for load in order.loads:
        if load.plan.flows < number:
            raise click.UsageError(
                f"the load {load.name} has {load.plan.flows} flow{'s' * (load.plan.flows > 1)} for {number} machines: "
                "choose loads with one for each (--load)"
            )
    setting = attrs.evolve(
        order.setting, machines=number, generate=lambda plan, progress: leader.run(plan, found, progress)
    )
    return attrs.evolve(order, setting=setting)


def read_baseline(path: str) -> Comparison:
    """Read a stored comparison for the gate. Raises click.UsageError."""
    try:
        found = read(path)
    except ResultError as error:
        raise click.UsageError(f"--against: {error}") from None
    if not isinstance(found, Comparison):
        raise click.UsageError(f"--against: {path} is a result of blast: give a result of compare")
    return found


def page_of(comparison: Comparison) -> str:
    """Give the page of a comparison."""
    return compare_page(comparison, judge(comparison))


def _targets(json: str | None, csv: str | None, html: str | None, png: str | None) -> list[Target[Comparison]]:
    """Prepare the files for the result. Raises click.UsageError."""
    return open_targets(
        ("--json", json, lambda path: json_target(path, as_stored)),
        ("--csv", csv, lambda path: text_target(path, compare_csv)),
        ("--html", html, lambda path: text_target(path, page_of)),
        ("--png", png, lambda path: picture_target(path, picture_of)),
    )


def picture_of(comparison: Comparison) -> bytes:
    """Give the picture of a comparison."""
    from .picture import compare_png

    return compare_png(comparison)


def _command(**options: Any) -> None:
    click.get_current_context().exit(_compare(**options))


compare = Sectioned(
    "compare",
    callback=_command,
    sections=SECTIONS,
    params=[
        click.Argument(["subjects"], nargs=-1, type=SUBJECT, metavar="[NAME=COMMAND]..."),
        *(option for options in SECTIONS.values() for option in options),
    ],
    help="""Run echo servers in turn under the same load, beside echobench's own, and compare them.

    A subject is 'name=command with {port}' (also {host}, {proto}, {certificate}), or name=host:port of a
    running server.
    echobench's own server always takes part, under the name ideal, and the others are compared with it, or with
    --reference. Stored comparisons, given as FILE.json, are shown side by side; echobench show does more with them.
    The exit status is 0 if all went well, 1 if all subjects failed or --against found one slower, 2 if the options are
    wrong, 3 if --against is inconclusive.
    Ctrl-C ends the comparison early and reports what is complete, with status 130.
    Every option can also be set in the environment: ECHOBENCH_COMPARE_ROUNDS is --rounds.""",
)

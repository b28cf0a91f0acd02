"""The command ``echobench compare``: from options to rounds, tables and files."""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import click

from ..command import Sectioned
from ..files import Target, json_target, open_targets, picture_target, store, takes_output, text_target
from ..load.checks import is_ours
from ..printing import printed, report_console
from ..run import environment
from ..run.result import Result
from ..run.stored import ResultError
from . import callruns, rounds, unfinished
from .analysis import gate
from .analysis.comparison import IDEAL, Comparison, Load, Memory, Run, Subject, read
from .analysis.judge import as_stored, judge, remarks
from .conformance import essentials
from .formats import compare_csv, compare_markdown
from .live import watch_on
from .meters.idle import connection_memory
from .options import DEFAULTS, SECTIONS, SUBJECT
from .order import Order, make_order
from .page import compare_page
from .rounds import Watch
from .server.certificate import write as write_certificate
from .server.lifecycle import Setting
from .terminal import NARROW_WIDTH, WIDTH, show, show_gate, show_side_by_side, titled

INTERRUPTED: Final = 130  # the status of a program that SIGINT ended


def compare_all(
    order: Order,
    watch: Watch,
    before: Comparison | None = None,
    keep: Callable[[Comparison], None] = lambda unfinished: None,
) -> Comparison:
    """Run a comparison, or what an unfinished one lacks; ``keep`` is given what there is after each round.

    A Ctrl-C ends it early: the comparison then holds the runs that are complete.
    """
    runs = list(before.runs if before else ())
    memory: list[Memory] = list(before.memory if before else ())
    calls = list(before.calls if before else ())
    kept = [note for note in before.notes if note not in remarks(before)] if before else []
    notes = list(dict.fromkeys((*kept, *order.notes)))
    started = before.started if before else datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    for note in order.notes:
        watch.note(note)
    conformance = list(before.conformance if before else ())
    described = before.environment if before else environment.describe(order.setting.host, is_ours(order.setting.host))

    def so_far(*, cut_short: bool) -> Comparison:
        return Comparison(
            started=started,
            environment=described,
            seed=order.seed,
            rounds=order.rounds,
            server_cpus=order.setting.server_cpus,
            load_cpus=order.setting.load_cpus,
            subjects=order.subjects,
            loads=order.loads,
            runs=tuple(runs),
            memory=tuple(memory),
            calls=tuple(calls),
            conformance=tuple(conformance),
            notes=tuple(notes),
            cut_short=cut_short,
        )

    def take(run: Run) -> None:
        if runs and run.round != runs[-1].round:
            keep(so_far(cut_short=True))
        runs.append(run)

    cut_short = False
    try:
        with _certificate(order) as setting:
            if order.idle_connections and before is None and any(load.plan.transport == "tcp" for load in order.loads):
                watch.note("measuring the memory of idle connections")
                found = (connection_memory(each, setting, order.idle_connections) for each in order.subjects)
                memory += [each for each in found if each is not None]
            if before is None:
                conformance += essentials(order.subjects, order.loads, setting)
            turns = rounds.turns(order.subjects, order.loads, order.rounds, order.seed)
            rounds.make(unfinished.missing(turns, runs), setting, watch, take, rounds.measure)
            keep(so_far(cut_short=True))
            for number in range(order.rounds + 1, order.rounds + order.extra_rounds + 1):
                more = rounds.again(
                    order.subjects, order.loads, runs, rounds=order.rounds, number=number, seed=order.seed
                )
                if more:
                    watch.note(f"one more round, of {len(more)} runs: the host took CPU time from earlier ones")
                    rounds.make(more, setting, watch, take, rounds.measure)
            if order.count_calls and not calls:
                notes += callruns.make(turns, runs, order.count_calls, setting=setting, watch=watch, keep=calls.append)
    except KeyboardInterrupt:
        cut_short = True
    finally:
        watch.over()
    made = so_far(cut_short=cut_short)
    return attrs.evolve(made, notes=(*notes, *remarks(made)))


@contextlib.contextmanager
def _certificate(order: Order) -> Iterator[Setting]:
    """Make a certificate for the duration of the comparison, if a load uses TLS."""
    if not any(load.plan.transport == "tls" for load in order.loads):
        yield order.setting
        return
    with tempfile.TemporaryDirectory(prefix="echobench-") as folder:
        path = Path(folder) / "certificate.pem"
        write_certificate(path, order.setting.host)
        yield attrs.evolve(order.setting, certificate=str(path))


def status(comparison: Comparison) -> int:
    """Give the exit status: 0 if the ideal and another subject worked.

    1 if all others failed, or the ideal did.
    """
    if comparison.cut_short:
        return INTERRUPTED
    rows = judge(comparison)
    works = {row.subject for row in rows if row.verdict not in ("void", "not conformant")}
    others = {each.name for each in comparison.subjects} - {IDEAL}
    return 0 if IDEAL in works and (works & others or not others) else 1


def _stored(path: str) -> Comparison:
    try:
        found = read(path)
    except ResultError as error:
        raise click.UsageError(str(error)) from None
    return found if isinstance(found, Comparison) else as_comparison(found)


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
    files = [each for each in subjects if isinstance(each, str)]
    named = [each for each in subjects if isinstance(each, Subject)]
    if files and (named or against):
        raise click.UsageError("stored results are shown, subjects are run: give either files or subjects")
    if files and not options["resume"]:
        return printed(lambda: show_side_by_side(titled(files, map(_stored, files))))
    stored = read_baseline(against) if against else None
    if stored is None and options["tolerance"] is not None:
        raise click.UsageError("--tolerance needs --against")
    if stored is None and options["time_tolerance"] is not None:
        raise click.UsageError("--time-tolerance needs --against")
    if not hasattr(os, "killpg"):
        raise click.ClickException("compare needs a POSIX system to start and stop servers, and this is none")
    before = unfinished.begun(options, subjects, stored)
    order = make_order(options, named, before or stored)
    targets = _targets(options["json"], options["csv"], options["html"], options["png"])
    part = unfinished.Part.beside(options["json"], options["resume"])
    comparison = compare_all(order, watch_on(options["quiet"], order.rounds), before, part.keep)
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
    return failed or found or shown


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
    echobench's own server always takes part, under the name ideal. Stored comparisons, given as FILE.json, are shown
    side by side; echobench show does more with them. The exit status is 0 if all went well, 1 if all subjects failed
    or --against found one slower, 2 if the options are wrong, 3 if --against is inconclusive.""",
)

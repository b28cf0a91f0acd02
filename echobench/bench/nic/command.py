"""The command ``echobench nic``: from options to a look, a watch, a change and its proof."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import click

from ...host.nic import change as changing
from ...host.nic.change import Change, Setting
from ...host.nic.picture import NicError, Picture, interfaces, look
from ...host.nic.proof import Proof, prove
from ...kernel.card import KINDS
from ..command import SECONDS as TIME
from ..command import place
from ..files import open_targets, store, takes_output, text_target
from ..load import LoadError
from ..option import Command, Option, said
from ..printing import printed, report_console
from ..run.plan import PlanError
from ..statuses import INTERRUPTED
from . import report, watching
from .live import display
from .watching import Watch

SCHEMA: Final = "echobench.nic/1"
RETURN: Final = 10.0
"""Seconds that a link may take to come back after a change; some cards restart."""
LONGEST: Final = 3600.0

OPTIONS: Final = (
    Option(
        ["--watch", "-w"],
        type=TIME,
        help="Count packets by queue and CPU for so long while a load runs, and judge how they spread.",
    ),
    Option(
        ["--apply", "-a", "settings"],
        multiple=True,
        metavar="SETTING",
        help="Change udp4=sdfn (also udp6, tcp4, tcp6; fields in ethtool's letters), rxhash=on, channels=N or "
        "rps=MASK. May be repeated; they are made in turn.",
    ),
    Option(
        ["--peer"],
        metavar="HOST[:PORT]",
        help="Have a load of our own answered by this echo server, which is reached over the interface, and watch its "
        "answers come in; --watch says how long.  [default port: 7]",
    ),
    Option(["--quiet", "-q"], is_flag=True, help="Show only the result, no progress."),
    Option(
        ["--json"], type=click.Path(), metavar="FILE", help="Store everything as JSON; an existing file is replaced."
    ),
)


@attrs.define(kw_only=True)
class Outcome:
    """All that one call found and did."""

    pictures: list[Picture]
    changes: list[Change] = attrs.field(factory=list)
    proofs: list[Proof] = attrs.field(factory=list)
    before: Watch | None = None
    after: Watch | None = None

    @property
    def status(self) -> int:
        """The exit status."""
        if any(each is not None and each.interrupted for each in (self.before, self.after)):
            return INTERRUPTED
        bad = self.after is not None and self.after.spread.verdict.name == "one queue"
        refused = any(each.refused is not None for each in self.changes)
        return int(bad or refused or any(each.state == "disproved" for each in self.proofs))


def as_json(outcome: Outcome) -> str:
    """Write what ``nic.schema.json`` describes."""

    def spread(watch: Watch | None) -> dict[str, Any] | None:
        return None if watch is None else watch.spread.as_dict()

    whole = {
        "schema": SCHEMA,
        "interfaces": [each.as_dict() for each in outcome.pictures],
        "changes": [each.as_dict() for each in outcome.changes],
        "proofs": [each.as_dict() for each in outcome.proofs],
        "before": spread(outcome.before),
        "spread": spread(outcome.after),
    }
    return json.dumps(whole, indent=1) + "\n"


def _settings(texts: Sequence[str]) -> list[Setting]:
    """Read --apply. Raises click.UsageError."""
    try:
        found = [changing.parse(each) for each in texts]
    except ValueError as error:
        raise click.UsageError(f"{said('settings')}: {error}") from None
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"{said('settings')} has {twice} twice: give it once")
    return found


def _observer(
    settings: Sequence[Setting], watch: float | None, peer: str | None, quiet: bool
) -> Callable[[Picture], Watch] | None:
    """Give what watches a load; None if none is asked for. Raises click.UsageError."""
    if watch is not None and not 0 < watch <= LONGEST:
        raise click.UsageError(f"{said('watch')} is a time above 0 and up to an hour, not {watch:g} s")
    if peer is None:
        return None if watch is None else lambda picture: watching.watch(picture, watch, display(quiet))
    try:
        host, port = place(peer)
        kind = next((each.name for each in settings if each.name in KINDS), "udp6" if ":" in host else "udp4")
        plan = watching.peer_plan(host, port, kind, watch or watching.SECONDS)
    except (ValueError, PlanError) as error:
        raise click.UsageError(f"{said('peer')}: {error}") from None
    return lambda picture: watching.load(picture, plan)


def _examine(interface: str, settings: Sequence[Setting], observe: Callable[[Picture], Watch] | None) -> Outcome:
    """Look, watch, change, and watch again. Raises NicError and LoadError."""
    found = Outcome(pictures=[look(interface)])
    if not settings:
        found.after = None if observe is None else observe(found.pictures[0])
        return found
    if (why := changing.forbidden(interface, settings)) is not None:
        now = [Change(setting=str(each), before="", after="", undo=(), refused=why) for each in settings[:1]]
        found.changes = now
        return found
    found.before = None if observe is None else observe(found.pictures[0])
    if found.before is not None and found.before.interrupted:
        return found
    found.changes = changing.apply(interface, settings)
    found.pictures = [_settled(interface, found.pictures[0].state)]
    if observe is not None and all(each.refused is None for each in found.changes):
        found.after = observe(found.pictures[0])
    spreads = [None if each is None else each.spread for each in (found.before, found.after)]
    found.proofs = [
        prove(setting, change, *spreads) for setting, change in zip(settings, found.changes, strict=False)
    ]  # fmt: skip
    return found


def _known() -> list[str]:
    """Name all interfaces. Raises NicError if the system tells none."""
    if not (found := interfaces()):
        raise NicError("this system tells nothing of its interfaces in /sys/class/net: this command is for Linux")
    return found


def _settled(interface: str, state: str | None) -> Picture:
    """Look again, when the link is as it was."""
    end = time.monotonic() + RETURN
    while (picture := look(interface)).state != state and time.monotonic() < end:
        time.sleep(0.1)
    return picture


def _run(interface: str | None, settings: Sequence[str], json: str | None, **how: Any) -> int:
    wanted = _settings(settings)
    observe = _observer(wanted, **how)
    if interface is None and (wanted or observe is not None):
        raise click.UsageError("which interface? Name it first: echobench nic eth0 …")
    targets = open_targets(("--json", json, lambda path: text_target(path, as_json)))
    try:
        if interface is None:
            outcome = Outcome(pictures=[look(each) for each in _known()])
        else:
            outcome = _examine(interface, wanted, observe)
    except (NicError, LoadError) as error:
        raise click.ClickException(str(error)) from None
    failed = store(targets, outcome)
    console = report_console(to_error=takes_output(targets))
    shown = printed(lambda: _show(interface, outcome, console))
    return failed or outcome.status or shown


def _show(interface: str | None, outcome: Outcome, console: Any) -> None:
    if interface is None:
        report.show_overview(outcome.pictures, console)
        return
    if not outcome.changes and outcome.after is None and outcome.before is None:
        report.show_picture(outcome.pictures[0], console)
        return
    if outcome.before is not None:
        report.show_spread(outcome.before.spread, console, "before")
        console.print()
    report.show_changes(outcome.changes, console)
    if outcome.after is not None:
        if outcome.changes:
            console.print()
        report.show_spread(outcome.after.spread, console, "after" if outcome.changes else "")
        console.print()
    report.show_proofs([each for each in outcome.proofs if not _was_refused(outcome, each)], console)


def _was_refused(outcome: Outcome, proof: Proof) -> bool:
    return any(each.refused is not None and each.setting == proof.setting for each in outcome.changes)


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


nic = Command(
    "nic",
    callback=_command,
    params=[click.Argument(["interface"], required=False, metavar="[INTERFACE]"), *OPTIONS],
    help="""Show how a network card spreads packets over its receive queues, change it, and prove the change.

    Without INTERFACE, a line for each. With one, what the kernel tells of it: driver, channels, rings, hash, offloads,
    interrupts and the CPUs that packets are handed to. With --watch or --peer, where packets go under load, a verdict,
    and the line that mends it. --apply changes settings, which needs root, shows how to undo that, and says "proved"
    only if counters under load show it.
    The exit status is 0 if all is well, 1 if one queue gets nearly all packets, or a change was refused or is
    disproved, 2 if the options are wrong.""",
)

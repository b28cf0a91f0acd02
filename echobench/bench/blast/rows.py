"""The figures of a result in rows of text, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..run.histogram import DEPTHS, Histogram
from ..run.hostcounters import server_receive_buffer
from ..run.plan import Plan
from ..run.result import Result, per_second
from ..run.tally import loss
from ..words import beyond, duration, endpoint, percent, quantity

PLACES = {
    "not_sent": "never sent: the run ended first",
    "send_buffer_full": "no room in the generator's send buffer",
    "refused": "refused by the peer",
    "unanswered": "sent, but not answered",
    "late": "answered after the time-out",
    "truncated": "came back shorter",
    "corrupted": "came back with wrong bytes",
}

BESIDE = {
    "duplicates": "came back more than once",
    "reordered": "came back after a later one",
    "unexpected": "answers that match no message",
}


@attrs.frozen
class Rows:
    """A table: the names of its columns, and its rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sources(plan: Plan) -> str:
    """Say how many connections or sockets a plan has: 50 connections."""
    return f"{quantity(plan.flows)} {'socket' if plan.transport == 'udp' else 'connection'}{'s' * (plan.flows > 1)}"


def model(plan: Plan) -> str:
    """Say in a sentence which load was offered."""
    flows = sources(plan) + (f" of {plan.machines} machines" if plan.machines > 1 else "")
    if plan.model == "open":
        how = "at equal intervals" if plan.arrivals == "constant" else "at random (Poisson)"
        return (
            f"open model: {quantity(plan.rate or 0)} messages per second, sent {how} over {flows}, "
            "whether the server keeps up or not"
        )
    if plan.model == "flood":
        return f"flood: datagrams from {flows}, as fast as they can be sent, without waiting for answers"
    if plan.model == "connect":
        return f"connecting: {flows} at a time, each opened for one message and closed when it is answered"
    many = f"{plan.window} messages" if plan.window > 1 else "one message"
    return f"closed model: {flows}, each with {many} in flight, and the next is sent when one is answered"


def where(result: Result) -> str:
    """Say which server was measured, and with which messages."""
    plan = result.plan
    said = f"{endpoint(plan.host, plan.port)} over {plan.transport.upper()}"
    if plan.host.strip("[]") != result.address:
        said += f" ({result.address})"
    return f"{said}, messages of {plan.size} bytes"


def rates(result: Result) -> Rows:
    """Give how much was sent, and how much came back."""
    tally, plan = result.tally, result.plan
    rows: list[tuple[str, ...]] = []
    if plan.model == "open":
        rows.append(("asked for", quantity(plan.rate or 0), quantity(tally.intended)))
    rows.append(("sent", quantity(per_second(tally.sent, tally)), quantity(tally.sent)))
    if plan.model != "flood":
        megabytes = tally.answered_bytes / 1e6
        rows.append(("answered", quantity(per_second(tally.answered, tally)), quantity(tally.answered)))
        rows.append(("MB, each way", f"{per_second(megabytes, tally):,.2f}", f"{megabytes:,.1f}"))
    if plan.transport != "udp":
        rows.append(("connections opened, whole run", "", quantity(tally.connections)))
    return Rows(("", "msg/s", "in all"), tuple(rows))


def latency(result: Result) -> Rows:
    """Give round-trip times.

    In the open model there are two columns: from the intended time, and from the sending.
    """
    tally = result.tally
    both = result.plan.model == "open"
    pair = (tally.due(), tally.departed()) if both else (tally.departed(),)
    lossy = any(each.lost for each in pair)
    known = [each.percentiles() for each in pair]
    rows: list[tuple[str, list[float | None]]] = [
        ("min", [each.least if each.total else None for each in pair]),
        ("mean of answers" if lossy else "mean", [each.mean for each in pair]),
    ]
    supported = [depth for depth in DEPTHS if any(depth in each for each in known)]
    rows += [(percent(depth), [each.get(depth) for each in known]) for depth in supported]
    rows.append(("max", [each.percentile(100) if each.total else None for each in pair]))
    return Rows(
        ("round-trip time", *(["from intended"] if both else []), "from send"),
        (
            *(
                (name, *(beyond(value, each.greatest) for value, each in zip(values, pair, strict=True)))
                for name, values in rows
            ),
            ("answers", *(quantity(each.total) for each in pair)),
            *([("lost: beyond every time", *(quantity(each.lost) for each in pair))] if lossy else []),
        ),
    )


def footnote(result: Result) -> str:
    """Say which percentiles are missing, how late messages were sent, and how late answers were read."""
    tally = result.tally
    said = []
    missing = [depth for depth in DEPTHS if not tally.departed().supports(depth)]
    if missing:
        said.append(f"{percent(missing[0])} and beyond would rest on fewer than 10 messages.")
    if result.plan.model == "open" and tally.lateness.total:
        said.append(f"Sent later than intended: {spread(tally.lateness, duration)}.")
    if tally.reading.total:
        said.append(f"Read later than the kernel had them (not in these times): {spread(tally.reading, duration)}.")
    return " ".join(said)


def spread(histogram: Histogram, say: Callable[[float], str]) -> str:
    """Say in short what values a histogram has."""
    p99 = f", p99 {say(histogram.percentile(99))}" if histogram.supports(99) else ""
    return f"mean {say(histogram.mean)}{p99}, max {say(histogram.greatest)}"


def losses(result: Result) -> Rows | str:
    """Give what was lost, by place, and what else is odd.

    A sentence if there is nothing.
    """
    tally, plan = result.tally, result.plan
    found = [(PLACES[name], number) for name in PLACES if (number := getattr(tally, name))]
    beside = [(BESIDE[name], number) for name in BESIDE if (number := getattr(tally, name))]
    kernel = _kernel_losses(result)
    if not found and not beside and not kernel:
        if not tally.intended:
            return "Nothing was sent in the measured time."
        if plan.model == "flood":
            return "Nothing was lost on this side; a flood does not know what arrived."
        return "Nothing lost: every message came back whole, unchanged and in time."
    rows = [(name, quantity(number), f"{number / max(1, tally.intended):.3%}") for name, number in found]
    if not found:
        rows.append(("nothing" if plan.model != "flood" else "nothing on this side", "0", ""))
    rows += [(name, quantity(number), "") for name, number in [*beside, *kernel]]
    return Rows(("lost, by place", "messages", "of intended"), tuple(rows))


def _kernel_losses(result: Result) -> list[tuple[str, int]]:
    """Give where the kernel lost datagrams, over the whole run."""
    ours = result.tally.our_receive_buffer
    rows = [("of these, no room in the generator's receive buffer", ours)]
    missing = result.tally.unanswered or result.tally.refused or result.plan.model == "flood"
    if missing and result.plan.transport == "udp" and result.counters is not None:
        rows.append(
            (
                "no room in other receive buffers of this host",
                server_receive_buffer(result.counters, ours) or 0,
            )
        )
        ports = result.counters.get("UdpNoPorts", 0) + result.counters.get("Udp6NoPorts", 0)
        rows.append(("arrived on this host at a port without a socket", ports))
    return [(name, number) for name, number in rows if number]


def generator(result: Result) -> Rows:
    """Give what the load cost the generator, by process."""
    return Rows(
        ("generator", "CPU", "busy", "msg/s", "engine"),
        tuple(
            (
                f"process {process.index}" + (f" on CPU {process.cpu}" if process.cpu is not None else ""),
                f"{process.cpu_share:.0%}",
                f"{process.busy_share:.0%}",
                quantity(process.rate),
                process.engine,
            )
            for process in result.processes
        ),
    )


def machines(result: Result) -> Rows:
    """Give what each machine did of a run that several shared, and how well its clock is known."""
    rows = []
    for each in result.machines:
        clock = "-" if each.clock is None else f"±{duration(each.clock.error)}"
        if each.result is None:
            rows.append((each.name, quantity(each.part.flows), *["missing"] * 5, clock))
            continue
        tally = each.result.tally
        times = tally.due() if result.plan.model == "open" else tally.departed()
        known = times.percentiles((50, 99))
        share = loss(tally)
        busiest = max((max(one.cpu_share, one.busy_share) for one in each.result.processes), default=0.0)
        rows.append(
            (
                each.name,
                quantity(each.part.flows),
                quantity(per_second(tally.sent if result.plan.model == "flood" else tally.answered, tally)),
                *(beyond(known.get(depth), times.greatest) for depth in (50.0, 99.0)),
                "-" if share is None else f"{share:.3%}",
                f"{busiest:.0%}",
                clock,
            )
        )
    rate = "sent, msg/s" if result.plan.model == "flood" else "msg/s"
    return Rows(("machine", "flows", rate, "p50", "p99", "lost", "busiest CPU", "start"), tuple(rows))


def machines_note(result: Result) -> str:
    """Say what the machines' start rests on, and which verdicts are on single machines."""
    errors = [each.clock.error for each in result.machines if each.clock is not None]
    said = [f"Each began within {duration(max(errors))} of the common time (start)."] if errors else []
    for each in result.machines:
        names = [verdict.name for verdict in each.result.verdicts] if each.result else []
        if names and len(result.machines) > 1:
            said.append(f"{each.name}: {', '.join(names)}.")
    return " ".join(said)

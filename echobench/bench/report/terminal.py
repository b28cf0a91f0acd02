"""A result on a terminal, or in a file: plain where there is no terminal, and as narrow as it is."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..figures import per_second
from ..histogram import DEPTHS, Histogram
from ..hostcounters import server_receive_buffer
from ..plan import Plan
from ..results import Result
from .words import duration, percent, quantity

STYLES = {"failure": "bold red", "warning": "yellow", "note": "cyan"}

PLACES = {
    "not_sent": "never sent: the run was over first",
    "send_buffer_full": "no room in our send buffer",
    "refused": "refused by the other side",
    "unanswered": "sent, and no answer",
    "late": "answered after the time-out",
    "truncated": "came back shorter",
    "corrupted": "came back with wrong bytes",
}

BESIDE = {
    "duplicates": "came back more than once",
    "reordered": "came back after a later one",
    "unexpected": "answers to nothing that was sent",
}


def show(result: Result, console: Console | None = None) -> None:
    """Print the report."""
    console = console or Console(highlight=False)
    console.print()
    for line in heading(result):
        console.print(line)
    console.print()
    console.print(rates(result))
    console.print(Text(f"in {result.tally.window:.2f} measured seconds", style="dim"))
    if result.tally.from_send.total:
        console.print()
        console.print(latency(result))
        if said := footnote(result):
            console.print(Text(said, style="dim"))
    console.print()
    console.print(losses(result))
    console.print()
    console.print(generator(result))
    if result.tally.batches.total:
        console.print(Text(f"messages handled at a time: {_spread(result.tally.batches, quantity)}", style="dim"))
    if result.verdicts:
        console.print()
    for verdict in result.verdicts:
        line = Text.assemble((f"{verdict.name}: ", STYLES.get(verdict.level, "")), verdict.sentence)
        console.print(line)


def model(plan: Plan) -> str:
    """Say in a sentence what load was offered."""
    flows = f"{quantity(plan.flows)} {'socket' if plan.transport == 'udp' else 'connection'}{'s' * (plan.flows > 1)}"
    if plan.model == "open":
        how = "at equal distances" if plan.arrivals == "constant" else "at random (Poisson)"
        return (
            f"open model: {quantity(plan.rate or 0)} messages a second, sent {how} over {flows}, "
            "whether the server keeps up or not"
        )
    if plan.model == "flood":
        return f"flood: datagrams as fast as they can be sent from {flows}, one way; no answer is waited for"
    if plan.model == "connect":
        return f"connecting: {flows} at a time, each opened for one message and closed when it is answered"
    many = f"{plan.window} messages" if plan.window > 1 else "one message"
    return f"closed model: {flows}, each with {many} under way, and the next is sent when one is answered"


def heading(result: Result) -> list[Text]:
    """Say what was measured, and when."""
    plan = result.plan
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    where = f"{host}:{plan.port} over {plan.transport.upper()}"
    if plan.host.strip("[]") != result.address:
        where += f" ({result.address})"
    size = f"{plan.size} bytes"
    return [Text(f"{where}, messages of {size}", style="bold"), Text(model(plan))]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(columns), header_style="dim")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    return table


def rates(result: Result) -> Table:
    """Show how much went there and came back."""
    tally, plan = result.tally, result.plan
    table = _table("", "a second", "in all")
    if plan.model == "open":
        table.add_row("asked for", quantity(plan.rate or 0), quantity(tally.intended))
    table.add_row("sent", quantity(per_second(tally.sent, tally)), quantity(tally.sent))
    if plan.model != "flood":
        table.add_row("answered", quantity(per_second(tally.answered, tally)), quantity(tally.answered))
        megabytes = tally.answered_bytes / 1e6
        table.add_row("MB, each way", f"{per_second(megabytes, tally):,.2f}", f"{megabytes:,.1f}")
    if plan.transport != "udp":
        table.add_row("connections opened, whole run", "", quantity(tally.connections))
    return table


def latency(result: Result) -> Table:
    """Show round-trip times: in the open model from the intended time and from the sending, side by side."""
    tally = result.tally
    both = result.plan.model == "open"
    table = _table("round-trip time", *(["from intended"] if both else []), "from send")
    pair = (tally.from_intended, tally.from_send) if both else (tally.from_send,)

    def row(name: str, values: list[float | None]) -> None:
        table.add_row(name, *map(duration, values))

    row("min", [each.least if each.total else None for each in pair])
    row("mean", [each.mean for each in pair])
    known = [each.percentiles() for each in pair]
    for depth in DEPTHS:
        if any(depth in each for each in known):
            row(percent(depth), [each.get(depth) for each in known])
    row("max", [each.greatest if each.total else None for each in pair])
    table.add_row("answers", *(quantity(each.total) for each in pair))
    return table


def footnote(result: Result) -> str:
    """Say how sure the percentiles are, and how late messages were sent."""
    tally = result.tally
    said = []
    missing = [depth for depth in DEPTHS if not tally.from_send.supports(depth)]
    if missing:
        said.append(f"{percent(missing[0])} and beyond would rest on fewer than 10 answers.")
    if result.plan.model == "open" and tally.lateness.total:
        said.append(f"Sent later than intended: {_spread(tally.lateness, duration)}.")
    return " ".join(said)


def _spread(histogram: Histogram, say: Callable[[float], str]) -> str:
    p99 = f", p99 {say(histogram.percentile(99))}" if histogram.supports(99) else ""
    return f"mean {say(histogram.mean)}{p99}, max {say(histogram.greatest)}"


def losses(result: Result) -> Table | Text:
    """Show what was lost, by place; and what else is odd."""
    tally, plan = result.tally, result.plan
    rows = [(PLACES[name], getattr(tally, name)) for name in PLACES]
    found = [(name, number) for name, number in rows if number]
    beside = [(BESIDE[name], getattr(tally, name)) for name in BESIDE if getattr(tally, name)]
    kernel = _kernel_losses(result)
    if not found and not beside and not kernel:
        if not tally.intended:
            return Text("Nothing was sent in the measured time.")
        if plan.model == "flood":
            return Text("Nothing was lost on this side; what arrived, a flood does not know.")
        return Text("Nothing lost: every message came back, whole, right and in time.")
    table = _table("lost, by place", "messages", "of intended")
    if not found:
        table.add_row("nothing" if plan.model != "flood" else "nothing on this side", "0", "")
    for name, number in found:
        table.add_row(name, quantity(number), f"{number / max(1, tally.intended):.3%}")
    for name, number in [*beside, *kernel]:
        table.add_row(name, quantity(number), "")
    return table


def _kernel_losses(result: Result) -> list[tuple[str, int]]:
    """Give what the kernel says of where datagrams were lost, over the whole run."""
    ours = result.tally.our_receive_buffer
    rows = [("of them, no room in our receive buffer", ours)]
    missing = result.tally.unanswered or result.tally.refused or result.plan.model == "flood"
    if missing and result.plan.transport == "udp" and result.counters is not None:
        rows.append(
            (
                "no room in receive buffers of this host that are not ours",
                server_receive_buffer(result.counters, ours) or 0,
            )
        )
        ports = result.counters.get("UdpNoPorts", 0) + result.counters.get("Udp6NoPorts", 0)
        rows.append(("arrived on this host at a port that nobody has", ports))
    return [(name, number) for name, number in rows if number]


def generator(result: Result) -> Table:
    """Show what the load cost this side, by process."""
    table = _table("generator", "CPU", "busy", "a second", "engine")
    for process in result.processes:
        where = f" on CPU {process.cpu}" if process.cpu is not None else ""
        table.add_row(
            f"process {process.index}{where}",
            f"{process.cpu_share:.0%}",
            f"{process.busy_share:.0%}",
            quantity(process.rate),
            process.engine,
        )
    return table

"""Verdicts: what a reader must know before using the figures of a result.

Each function looks at one thing, and is pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from .hostcounters import server_receive_buffer
from .result import Process, Result, Verdict, per_second

CPU: Final = 0.9  # of the window: a process that uses more has no time left
BUSY: Final = 0.95
LATE: Final = 1_000_000  # nanoseconds
SKIPPED: Final = 0.001  # of the messages that were due
KEPT: Final = 0.99  # of the rate that was asked for
ALIKE: Final = 0.99  # of the longest window: machines that measured for less did not measure the same


def failed(result: Result) -> Verdict | None:
    """Report processes that gave no result: their counts are not in the figures."""
    if not result.failures:
        return None
    return Verdict(name="process failed", level="failure", sentence=f"{'; '.join(result.failures)}.")


def machines_missing(result: Result) -> Verdict | None:
    """Report machines that gave no result: their parts of the load are in no figure."""
    missing = [each for each in result.machines if each.result is None]
    if not missing:
        return None
    named = "; ".join(f"{each.name}: {each.missing}" for each in missing)
    flows = sum(each.part.flows for each in missing)
    return Verdict(
        name="machine missing",
        level="failure",
        sentence=f"{len(missing)} of {len(result.machines)} machines gave no result ({named}). What they sent, on "
        f"{flows:,} of {result.plan.flows:,} flows, is in no figure; the others were ended early.",
    )


def several_addresses(result: Result) -> Verdict | None:
    """Report that the machines did not all send to one address of the server."""
    used: dict[str, list[str]] = {}
    for each in result.machines:
        if each.result is not None:
            used.setdefault(each.result.address, []).append(each.name)
    if len(used) < 2:
        return None
    said = "; ".join(f"{address} from {', '.join(names)}" for address, names in used.items())
    return Verdict(
        name="several addresses",
        level="warning",
        sentence=f"The machines sent to different addresses of {result.plan.host} ({said}): give one as HOST if they "
        "are different servers, or different ways to one.",
    )


def windows_differ(result: Result) -> Verdict | None:
    """Report that the machines did not measure for the same time, so that their sum is of no time at all."""
    windows = {each.name: each.result.tally.window for each in result.machines if each.result is not None}
    if result.plan.count is not None or len(windows) < 2:  # with a count each is done when it is done
        return None
    shortest, longest = min(windows, key=windows.__getitem__), max(windows, key=windows.__getitem__)
    if windows[shortest] >= ALIKE * windows[longest]:
        return None
    return Verdict(
        name="windows differ",
        level="warning",
        sentence=f"{shortest} measured for {windows[shortest]:.2f} s, and {longest} for {windows[longest]:.2f} s: "
        "read their figures apart, the rates of all together are too low.",
    )


def _where(result: Result) -> str:
    return f"{result.address}, {'UDP' if result.plan.transport == 'udp' else 'TCP'} port {result.plan.port}"


def _empty(result: Result) -> bool:
    """Tell whether the window has no message for a reason that is reported elsewhere.

    That is: the run was interrupted before the window, or all connections had ended before it.
    """
    tally = result.tally
    return not tally.intended and (result.cut_short or 0 < tally.connections <= tally.connections_lost)


def faults_on_purpose(result: Result) -> Verdict | None:
    """Report that the server was asked to misbehave; it is only known of servers on this machine."""
    faults = result.environment.get("faults")
    if not faults:
        return None
    return Verdict(
        name="faults on purpose",
        level="warning",
        sentence=f"THE SERVER INJECTS FAULTS ON PURPOSE ({'; '.join(faults)}): what is late, lost or wrong is what it "
        "was asked for, and the figures are not those of a good server.",
    )


def nothing_sent(result: Result) -> Verdict | None:
    """Report that no message of the measured time left, so the load was not made.

    In the closed model and with --connect, no message is due while all wait for answers: see :func:`unanswered`.
    """
    tally, plan = result.tally, result.plan
    if tally.sent or _empty(result) or not (tally.intended or plan.model in ("open", "flood")):
        return None
    where = _where(result)
    if not tally.intended:
        why = f"none was due within {plan.duration:g} s: give a longer --duration"
        why += ", or a higher --rate" if plan.model == "open" else ""
    elif plan.transport == "udp":
        why = f"the kernel took no datagram to {where}: see the table of losses for the reason"
    else:
        why = f"{where} took no more bytes on any connection: the server does not read, or only as much as it answers"
    return Verdict(
        name="nothing sent", level="failure", sentence=f"No message was sent in the measured time, because {why}."
    )


def unanswered(result: Result) -> Verdict | None:
    """Report that nothing came back in the measured time, although answers were expected."""
    tally, plan = result.tally, result.plan
    if tally.answered or plan.model == "flood" or _empty(result) or nothing_sent(result) is not None:
        return None
    where = _where(result)
    if tally.late:
        sentence = f"Nothing came back from {where}, within {plan.timeout:g} s: give a longer --timeout."
    elif tally.corrupted or tally.truncated:
        sentence = f"Nothing came back whole and unchanged: is there an echo server on {where}?"
    elif tally.intended:
        sentence = f"Nothing came back: is there an echo server on {where}?"
        if plan.transport == "udp" and not tally.refused:
            sentence += " Answers from another address or port do not count: echobench verify looks for them."
    else:
        sentence = (
            f"Nothing came back in the measured time: is there an echo server on {where}? "
            f"If it needs more than {plan.duration:g} s for an answer, give a longer --duration."
        )
    return Verdict(name="nothing answered", level="failure", sentence=sentence)


def sockets_unanswered(result: Result) -> Verdict | None:
    """Report sockets without any answer: a closed loop hardly shows them as losses.

    It sends only one window per time-out on them. Datagrams may be lost, so this is no failure.
    """
    number, plan = result.tally.flows_silent, result.plan
    if not number or not result.tally.answered or plan.transport != "udp":
        return None
    return Verdict(
        name="sockets unanswered",
        level="warning",
        sentence=f"{number:,} of {plan.flows:,} sockets had no answer to any datagram: the server, or something "
        "before it, drops what comes from their ports. In a closed loop the share of lost datagrams hardly shows it.",
    )


def connections_stuck(result: Result) -> Verdict | None:
    """Report connections that stood still at the end of the run.

    They are as bad as connections that ended: the load that was asked for was not made, and in a closed loop what they
    lost is one message each, or none if they have waited since the warm-up.
    """
    number, plan = result.tally.flows_silent, result.plan
    if not number or not result.tally.answered or plan.transport == "udp":
        return None
    return Verdict(
        name="connections stuck",
        level="failure",
        sentence=f"{number:,} of {plan.flows:,} connections stood still when the run ended, without an answer for more "
        f"than {plan.timeout:g} s: the server does not serve them, or it does not read.",
    )


def refused(result: Result) -> Verdict | None:
    """Report messages that the peer refused.

    By ICMP, or by a reset or a close before the answer.
    """
    if not result.tally.refused:
        return None
    how = "by ICMP (port unreachable)" if result.plan.transport == "udp" else "by a reset, or a close before the answer"
    return Verdict(name="refused", level="failure", sentence=f"{result.tally.refused:,} messages were refused {how}.")


def connections_lost(result: Result) -> Verdict | None:
    """Report connections that ended before the run did."""
    lost = result.tally.connections_lost
    if not lost:
        return None
    return Verdict(
        name="connections lost",
        level="failure",
        sentence=f"{lost:,} of {result.tally.connections:,} connections ended before the run did.",
    )


def wrong_bytes(result: Result) -> Verdict | None:
    """Report answers that were not what was sent.

    An echo server that changes bytes does not work, however fast it is.
    """
    tally = result.tally
    kinds = {"corrupted": tally.corrupted, "truncated": tally.truncated, "unexpected": tally.unexpected}
    found = ", ".join(f"{number:,} {name}" for name, number in kinds.items() if number)
    if not found:
        return None
    return Verdict(name="wrong bytes", level="failure", sentence=f"What came back was not what was sent: {found}.")


def books(result: Result) -> Verdict | None:
    """Report messages that ended nowhere: then the generator has a fault."""
    missing = result.tally.missing()
    if not missing:
        return None
    return Verdict(
        name="miscounted",
        level="failure",
        sentence=f"The generator lost count of {missing:,} messages; this is a fault of echobench.",
    )


def lost(result: Result) -> Verdict | None:
    """Report messages that were sent and not answered in time.

    The table of losses says where they went.
    """
    tally = result.tally
    number = tally.unanswered + tally.late
    if not number or not tally.answered:
        return None
    why = (
        ""
        if result.plan.transport == "udp"
        else " TCP loses nothing: the server or the connections still held them when the final wait (--timeout) ended."
    )
    share = number / max(1, tally.sent)
    return Verdict(
        name="lost",
        level="warning",
        sentence=f"{number:,} of {tally.sent:,} messages ({share:.3%}) had no answer in time.{why}",
    )


def our_receive_buffer(result: Result) -> Verdict | None:
    """Report answers that our own sockets dropped: the generator's loss."""
    number = result.tally.our_receive_buffer
    if not number:
        return None
    return Verdict(
        name="our receive buffer",
        level="warning",
        sentence=f"{number:,} answers arrived and were dropped by the generator's own sockets: the "
        "server did not lose them. Take a smaller --window or --rate, more --flows, or raise net.core.rmem_max.",
    )


def servers_receive_buffer(result: Result) -> Verdict | None:
    """Report that receive buffers of other sockets on this machine overflowed.

    If answers are missing too, it was most likely the server's. If every message was answered, it was another
    program's; in a flood, nobody knows.
    """
    number = server_receive_buffer(result.counters, result.tally.our_receive_buffer)
    if not number or result.plan.transport != "udp" or not (result.tally.unanswered or result.plan.model == "flood"):
        return None
    return Verdict(
        name="server's receive buffer",
        level="note",
        sentence=f"The receive buffers of other sockets on this machine overflowed {number:,} times in the whole run. "
        "It was most likely the server's, but the kernel counts all programs together.",
    )


def backlog(result: Result) -> Verdict | None:
    """Report that a listener on this machine had no room for a new connection."""
    number = (result.counters or {}).get("TcpExtListenOverflows", 0)
    tally = result.tally
    trouble = tally.refused or tally.unanswered or tally.connections_lost or result.plan.model == "connect"
    if not number or not trouble or result.plan.transport == "udp":
        return None
    return Verdict(
        name="backlog full",
        level="note",
        sentence=f"A listener on this machine had no room for a new connection {number:,} times: "
        "if it was this server, it accepts too slowly, or its backlog is too short.",
    )


def rate_not_kept(result: Result) -> Verdict | None:
    """Report that the open model did not keep its rate.

    That is: less than 99 % of the rate was sent, or more than 0.1 % of the messages that were due were not sent. Two
    messages more or less at the edges of the window do not matter, nor do four standard deviations of what a Poisson
    process of that rate would send.
    """
    tally, wanted = result.tally, result.plan.rate
    if result.plan.model != "open" or wanted is None or not tally.window or not tally.sent:
        return None
    expected = wanted * min(tally.window, result.plan.duration)  # a window ends when the process notices it
    slack = 2 + (4 * math.sqrt(expected) if result.plan.arrivals == "poisson" else 0)
    if tally.sent >= KEPT * expected - slack and tally.not_sent <= SKIPPED * tally.intended:
        return None
    kept = f"{per_second(tally.sent, tally):,.0f} msg/s were sent instead of {wanted:,.0f}"
    skipped = f"; {tally.not_sent:,} messages that were due were never sent" if tally.not_sent else ""
    return Verdict(
        name="rate not kept",
        level="warning",
        sentence=f"{kept}{skipped}. Read the times from send as those of the rate that was sent.",
    )


def generator_bound(result: Result) -> Verdict | None:
    """Report that the generator was the limit, not the server.

    A faster server would look the same. In the closed model, in a flood and with --connect: a process used 0.9 of its
    CPU, or was busy for 0.95 of the window. In the open model: the rate was not kept, or one message in a hundred left
    more than 1 ms late. One exception: if the rate over TCP was not kept although no process was busy, the connections
    were full, because the server did not read. Of several machines, each was judged by itself.
    """
    sentence = _bound_on(result) if result.machines else _bound(result)
    return Verdict(name="generator-bound", level="warning", sentence=sentence) if sentence else None


def _bound(result: Result) -> str:
    """Say why the generator was the limit; empty if it was not."""
    busiest = max(result.processes, key=lambda process: max(process.cpu_share, process.busy_share), default=None)
    if busiest is None or nothing_sent(result) or unanswered(result):
        return ""
    hot = busiest.cpu_share >= CPU or busiest.busy_share >= BUSY
    if result.plan.model == "open":
        kept = rate_not_kept(result) is None
        lateness = result.tally.lateness
        late = lateness.total > 0 and lateness.percentile(99) > LATE
        if not kept and not hot and result.plan.transport != "udp":
            return ""
        if kept and not late:
            return ""
        by = f"{lateness.percentile(99) / 1e6:,.1f} ms late or more" if late else ""
        why = (
            f"The generator sent one message in a hundred {by}: this lateness is part of the times from intended"
            if kept
            else "The generator was the limit, not the server: it did not keep the rate"
        )
    elif hot:
        why = "The generator was the limit, not the server: it had no time left"
    else:
        return ""
    return (
        f"{why} ({_use(busiest, result.plan.model)}). "
        "Give it more --processes, on --cpus that the server does not use, or offer less load."
    )


def _bound_on(result: Result) -> str:
    """Say on which machines the generator was the limit, and why on the first of them; empty if on none."""
    bound = [
        (each.name, found.sentence)
        for each in result.machines
        if each.result is not None
        for found in each.result.verdicts
        if found.name == "generator-bound"
    ]
    if not bound:
        return ""
    names = ", ".join(name for name, _ in bound)
    return f"On {len(bound)} of {len(result.machines)} machines ({names}). {bound[0][0]}: {bound[0][1]}"


def _use(process: Process, model: str) -> str:
    used = f"process {process.index} used {process.cpu_share:.0%} of a CPU"
    use = f"{used}, and was busy for {process.busy_share:.0%} of the time"
    awake = model == "open" and process.busy_share < process.cpu_share
    return f"{use}; it busy-waits until a message is due" if awake else use


def loopback(result: Result) -> Verdict | None:
    """Report that the server is on this machine.

    There is no network card and no wire, and client and server share processors and memory.
    """
    if not result.environment.get("loopback"):
        return None
    return Verdict(
        name="loopback",
        level="note",
        sentence="Client and server ran on one machine: use this to compare servers; a network gives other figures.",
    )


def cut_short(result: Result) -> Verdict | None:
    """Report that the run was interrupted."""
    if not result.cut_short:
        return None
    return Verdict(
        name="cut short",
        level="warning",
        sentence=f"The run was interrupted after {result.tally.window:.1f} of "
        f"{result.plan.duration:g} measured seconds.",
    )


ALL: Final[tuple[Callable[[Result], Verdict | None], ...]] = (
    failed,
    faults_on_purpose,
    machines_missing,
    several_addresses,
    windows_differ,
    nothing_sent,
    unanswered,
    refused,
    connections_lost,
    connections_stuck,
    wrong_bytes,
    books,
    lost,
    sockets_unanswered,
    our_receive_buffer,
    servers_receive_buffer,
    backlog,
    rate_not_kept,
    generator_bound,
    cut_short,
    loopback,
)


def judge(result: Result) -> tuple[Verdict, ...]:
    """Give all verdicts, the gravest first."""
    found = [verdict for each in ALL if (verdict := each(result)) is not None]
    return tuple(sorted(found, key=lambda verdict: ("failure", "warning", "note").index(verdict.level)))


def status(result: Result) -> int:
    """Give the exit status: 1 if the run failed or bytes were wrong, else 0.

    Lost datagrams are not a failure.
    """
    return int(any(verdict.level == "failure" for verdict in result.verdicts))

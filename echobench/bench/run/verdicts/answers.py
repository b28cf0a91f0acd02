"""Verdicts on what came back, and on what did not."""

from __future__ import annotations

from ..result import Result, Verdict


def _where(result: Result) -> str:
    return f"{result.address}, {'UDP' if result.plan.transport == 'udp' else 'TCP'} port {result.plan.port}"


def _empty(result: Result) -> bool:
    """Tell whether the window has no message for a reason that is reported elsewhere.

    That is: the run was interrupted before the window, or all connections had ended before it.
    """
    tally = result.tally
    return not tally.intended and (result.cut_short or 0 < tally.connections <= tally.connections_lost)


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

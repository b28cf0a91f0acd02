"""What is said of a result: each thing when it is so, and not when it is not."""

from __future__ import annotations

import attrs
import pytest
from rigs.blast_results import ENVIRONMENT, a_result

from echobench.bench.run.histogram import Histogram
from echobench.bench.run.result import Process
from echobench.bench.run.verdicts import ALL, judge, status

OPEN = {"model": "open", "rate": 10_000.0}
UDP = {"transport": "udp"}


def said(*args, **changes):
    return {verdict.name: verdict for verdict in judge(a_result(*args, **changes))}


def lateness(late, *, of=100_000, by=2_000_000):
    made = Histogram()
    made.record(10_000, of - late)
    if late:
        made.record(by, late)
    return made


@pytest.mark.parametrize("plan", [{}, UDP, OPEN, {**OPEN, **UDP}, {"model": "connect"}])
def test_nothing_of_a_good_run(plan):
    assert said(plan=plan) == {}


@pytest.mark.parametrize(
    ("name", "level", "tally", "plan", "words"),
    [
        ("nothing answered", "failure", {"answered": 0, "unanswered": 100_000}, {}, "on 192.0.2.1, TCP port 7007?"),
        ("nothing answered", "failure", {"answered": 0, "unanswered": 100_000}, UDP, "UDP port"),
        ("refused", "failure", {"answered": 99_997, "refused": 3}, {}, "3 messages were refused by a reset"),
        ("refused", "failure", {"answered": 99_997, "refused": 3}, UDP, "by ICMP"),
        ("connections lost", "failure", {"connections_lost": 2}, {}, "2 of 4 connections"),
        ("wrong bytes", "failure", {"answered": 99_999, "corrupted": 1}, {}, "1 corrupted"),
        ("wrong bytes", "failure", {"answered": 99_998, "truncated": 2}, UDP, "2 truncated"),
        ("wrong bytes", "failure", {"unexpected": 4}, {}, "4 unexpected"),
        ("miscounted", "failure", {"answered": 99_990}, {}, "lost count of 10 messages"),
        ("lost", "warning", {"answered": 99_500, "unanswered": 400, "late": 100}, UDP, "500 of 100,000 messages (0.5"),
        ("lost", "warning", {"answered": 99_500, "unanswered": 500}, {}, "TCP loses nothing"),
        ("our receive buffer", "warning", {"our_receive_buffer": 9}, UDP, "9 answers arrived and were dropped"),
    ],
)  # fmt: skip
def test_one_thing(name, level, tally, plan, words):
    found = said(tally, plan)
    assert set(found) == {name}
    assert found[name].level == level
    assert words in found[name].sentence
    result = a_result(tally, plan)
    assert status(attrs.evolve(result, verdicts=judge(result))) == (level == "failure")


NONE = {"answered": 0, "sent": 0, "intended": 0}


@pytest.mark.parametrize(
    ("name", "tally", "plan", "words"),
    [
        ("nothing answered", NONE, {}, "TCP port 7007? If it needs more than 10 s for an answer"),
        ("nothing answered", NONE, UDP, "UDP port 7007? If it needs more than 10 s"),
        ("nothing answered", NONE, {"model": "connect"}, "in the measured time"),
        ("nothing answered", {"answered": 0, "late": 100_000}, UDP, "within 1 s: give a longer --timeout"),
        ("nothing answered", {"answered": 0, "unanswered": 100_000}, UDP, "from another address or port"),
        ("nothing sent", NONE, OPEN, "none was due within 10 s: give a longer --duration, or a higher --rate"),
        ("nothing sent", NONE, {**UDP, "model": "flood"}, "none was due within 10 s"),
        ("nothing sent", {**NONE, "intended": 9, "not_sent": 9}, OPEN, "192.0.2.1, TCP port 7007 took no more bytes"),
        ("nothing sent", {**NONE, "intended": 9, "send_buffer_full": 9}, UDP, "no datagram to 192.0.2.1, UDP"),
        ("nothing sent", {**NONE, "intended": 9, "send_buffer_full": 9}, {**UDP, "model": "flood"}, "no datagram to"),
        ("connections stuck", {"flows_silent": 3}, {}, "3 of 4 connections stood still"),
    ],
)
def test_a_run_without_figures_is_a_failure(name, tally, plan, words):
    result = a_result(tally, plan)
    found = {verdict.name: verdict for verdict in judge(result)}
    assert set(found) == {name}
    assert found[name].level == "failure"
    assert words in found[name].sentence
    assert status(attrs.evolve(result, verdicts=judge(result))) == 1


def test_nothing_came_back_that_was_right():
    found = said({"answered": 0, "corrupted": 100_000})
    assert set(found) == {"nothing answered", "wrong bytes"}
    assert "whole and unchanged" in found["nothing answered"].sentence


def test_a_run_that_was_ended_before_it_measured_says_only_that():
    assert set(said(NONE, cut_short=True)) == {"cut short"}
    assert set(said({**NONE, "connections_lost": 4})) == {"connections lost"}


def test_sockets_without_an_answer_are_a_warning():
    found = said({"flows_silent": 3}, UDP)
    assert {name: each.level for name, each in found.items()} == {"sockets unanswered": "warning"}
    assert "3 of 4 sockets" in found["sockets unanswered"].sentence


def test_a_flood_waits_for_nothing():
    assert said({"answered": 0, "one_way": 100_000}, {**UDP, "model": "flood"}) == {}


def test_a_process_that_failed():
    found = said(failures=("process 1: it ended with status 1",))
    assert found["process failed"].level == "failure"
    assert "process 1: it ended" in found["process failed"].sentence


def test_cut_short():
    assert "after 10.0 of 60 measured seconds" in said(plan={"duration": 60.0}, cut_short=True)["cut short"].sentence


def test_loopback():
    assert said(environment={**ENVIRONMENT, "loopback": True})["loopback"].level == "note"


def test_the_servers_receive_buffer():
    counters = {"UdpRcvbufErrors": 5, "Udp6RcvbufErrors": 7}
    missing = {"unanswered": 10, "answered": 99_990}
    found = said(missing, UDP, counters=counters)
    assert "12 times" in found["server's receive buffer"].sentence
    found = said({**missing, "our_receive_buffer": 4}, UDP, counters=counters)
    assert "8 times" in found["server's receive buffer"].sentence
    assert "server's receive buffer" not in said({**missing, "our_receive_buffer": 12}, UDP, counters=counters)
    assert "server's receive buffer" not in said(missing, counters=counters), "TCP has nothing to do with it"
    assert said(plan=UDP, counters=counters) == {}, "nothing is missing"
    assert "server's receive buffer" in said(plan={**UDP, "model": "flood"}, counters=counters)


def test_the_backlog():
    counters = {"TcpExtListenOverflows": 3}
    assert "3 times" in said(plan={"model": "connect"}, counters=counters)["backlog full"].sentence
    assert "backlog full" in said({"connections_lost": 1}, counters=counters)
    assert said(counters=counters) == {}, "all went well: it was another listener"
    assert said(plan=UDP, counters=counters) == {}


@pytest.mark.parametrize("plan", [{}, UDP, {"model": "connect"}, {**UDP, "model": "flood"}])
@pytest.mark.parametrize(("cpu", "busy", "bound"), [(8.9, 9.4, False), (9.0, 0, True), (0, 9.5, True)])
def test_generator_bound_with_no_time_left(plan, cpu, busy, bound):
    found = said({"cpu": cpu, "busy": busy}, plan)
    assert ("generator-bound" in found) == bound
    if bound:
        assert (
            f"used {cpu / 10:.0%} of a CPU, and was busy for {busy / 10:.0%} of the time"
            in found["generator-bound"].sentence
        )


def test_what_a_generator_does_that_is_not_busy():
    found = said({**SHORT, "cpu": 9.9, "busy": 4.0}, OPEN)["generator-bound"].sentence
    assert "used 99% of a CPU, and was busy for 40% of the time; it busy-waits until a message is due)" in found


def test_a_generator_that_nobody_answers_is_not_the_limit():
    assert set(said({"answered": 0, "refused": 100_000, "cpu": 9.9}, UDP)) == {"nothing answered", "refused"}


def test_generator_bound_is_the_busiest_process():
    idle, busy = (
        Process(index=n, engine="columns", why="", cpu=None, rate=1, cpu_share=share, busy_share=share)
        for n, share in enumerate((0.1, 0.96))
    )
    assert "process 1 used 96%" in said(processes=(idle, busy))["generator-bound"].sentence


def test_a_busy_generator_that_keeps_the_rate_is_not_the_limit():
    assert said({"cpu": 9.9, "busy": 9.9}, OPEN) == {}


@pytest.mark.parametrize("plan", [OPEN, {**OPEN, **UDP}])
def test_generator_bound_by_lateness(plan):
    assert said({"lateness": lateness(900)}, plan) == {}
    assert said({"lateness": lateness(1100, by=900_000)}, plan) == {}
    found = said({"lateness": lateness(1100)}, plan)
    assert set(found) == {"generator-bound"}
    assert "2.0 ms late" in found["generator-bound"].sentence


SHORT = {"sent": 90_000, "answered": 90_000, "not_sent": 10_000}


def test_a_rate_that_is_not_kept_by_an_idle_generator():
    """Over UDP nothing holds it up but itself; over TCP the server does, by not reading."""
    found = said(SHORT, {**OPEN, **UDP})
    assert set(found) == {"rate not kept", "generator-bound"}
    sentence = found["rate not kept"].sentence
    assert "9,000 msg/s were sent instead of 10,000; 10,000 messages that were due were never sent." in sentence
    assert set(said(SHORT, OPEN)) == {"rate not kept"}
    assert set(said({**SHORT, "busy": 9.8}, OPEN)) == {"rate not kept", "generator-bound"}


@pytest.mark.parametrize(
    ("sent", "not_sent", "kept"),
    [(100_000, 0, True), (98_998, 0, True), (98_997, 0, False), (99_950, 50, True), (99_800, 200, False)],
)
def test_how_near_a_rate_is_kept(sent, not_sent, kept):
    tally = {"intended": sent + not_sent, "sent": sent, "answered": sent, "not_sent": not_sent}
    assert ("rate not kept" in said(tally, OPEN)) == (not kept)


def test_a_poisson_process_may_vary():
    few = {"intended": 70, "sent": 70, "answered": 70}
    assert "rate not kept" not in said(few, {"model": "open", "rate": 10.0, "arrivals": "poisson"})
    assert "rate not kept" in said(few, {"model": "open", "rate": 10.0})
    few = dict.fromkeys(few, 50)
    assert "rate not kept" in said(few, {"model": "open", "rate": 10.0, "arrivals": "poisson"})


def test_the_gravest_come_first():
    found = judge(a_result({"unexpected": 1}, cut_short=True, environment={**ENVIRONMENT, "loopback": True}))
    assert [verdict.level for verdict in found] == ["failure", "warning", "note"]


def test_each_is_explained_and_speaks_in_sentences():
    assert all(each.__doc__ for each in ALL)
    tally = {"refused": 1, "connections_lost": 1, "corrupted": 1, "our_receive_buffer": 1, **SHORT}
    for verdict in judge(
        a_result(tally, {**OPEN, **UDP}, cut_short=True, failures=("x",), counters={"UdpRcvbufErrors": 5})
    ):
        assert verdict.sentence[-1] in ".?"

"""What runs at both ends of a connection to a machine, without any machine: calls, lines, and who holds an agent."""

from __future__ import annotations

import json
import queue
import threading
import time

import pytest
from rigs.helpers import wait_for

from echobench.bench.cluster import ClusterError, in_worker, over_channel
from echobench.bench.cluster.posts import Answer, Outbox


def test_an_answer_that_does_not_come():
    """Several calls that began together share their time: the wait for one is none for the next."""
    never = threading.Event()
    answer = Answer(never.wait)
    long = threading.Timer(30, never.set)
    long.start()
    began = time.monotonic() - 3600
    with pytest.raises(ClusterError, match="it did not answer within 600 s"):
        answer.within(600, began)
    long.cancel()
    never.set()
    assert answer.within(600) is True


def test_an_answer_that_is_an_error():
    def call():
        raise KeyError("it")

    with pytest.raises(KeyError, match="it"):
        Answer(call).within(60)


def test_lines_leave_in_order_and_a_machine_that_takes_none_holds_up_nobody():
    taken, may = [], threading.Event()

    def send(lines):
        may.wait(60)
        taken.extend(lines)

    outbox = Outbox(send)
    lines = [str(number) for number in range(50)]
    for each in lines:
        outbox.put(each)
    may.set()
    wait_for(lambda: taken == lines)
    outbox.close()


def test_with_a_period_there_is_a_call_even_without_lines():
    calls = queue.SimpleQueue()
    outbox = Outbox(calls.put, 0.001)
    assert calls.get(timeout=60) == []
    outbox.close()


class Channel:
    """A channel whose other end says these lines, and then goes."""

    def __init__(self, *lines):
        self.lines, self.sent = list(lines), []

    def receive(self):
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)

    def send(self, text):
        self.sent.append(json.loads(text))


def test_a_machine_that_can_start_no_process_says_so(monkeypatch):
    def refuse(order):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(over_channel, "Relay", refuse)
    channel = Channel("start 3 {}", "clock", "end")
    over_channel.serve(channel)
    (run, word, why), clock, ended = channel.sent
    assert (run, word) == (3, "failed")
    assert "no process can be started there" in why
    assert "Resource temporarily unavailable" in why
    assert (clock[1], ended[1]) == ("clock", "ended"), "it goes on"


class Held:
    """An agent that ends when it is told."""

    def __init__(self, order):
        self._over = threading.Event()
        self.over = False

    def wait(self):
        self._over.wait(60)

    def end(self):
        self.over = True
        self._over.set()


def test_an_agent_that_runs_is_kept_however_many_have_ended(monkeypatch):
    """Their leaders went without a word, and so they are still there."""
    monkeypatch.setattr(in_worker, "Relay", Held)
    monkeypatch.setattr(in_worker, "RELAYS", relays := {})
    running = threading.Thread(target=in_worker.hold, args=("runs", ""))
    running.start()
    wait_for(lambda: "runs" in relays)
    for number in range(3 * in_worker.KEPT):
        relays[str(number)] = ended = Held("")
        ended.end()
        last = threading.Thread(target=in_worker.hold, args=(f"new {number}", ""))
        last.start()
        wait_for(lambda number=number: f"new {number}" in relays)
        relays[f"new {number}"].end()
        last.join()
    assert "runs" in relays
    assert sum(each.over for each in relays.values()) <= in_worker.KEPT
    in_worker.end("runs")
    running.join()
    assert "runs" not in relays

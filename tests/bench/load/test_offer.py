"""Rooms of the portable engine without a network: what a timetable gives, and what becomes of what cannot be sent."""

from __future__ import annotations

import errno

import pytest
from rigs.books import BEGIN, Books
from twisted.internet.error import MessageLengthError
from twisted.internet.task import Clock

from echobench.bench.load.portable.flood import Flood
from echobench.bench.load.portable.offer import NEVER, PAUSE, SLICE, Timetable
from echobench.bench.load.portable.sockets import Endpoint
from echobench.bench.load.portable.udp import ClosedUDP, OpenUDP
from echobench.bench.load.window import SECOND
from echobench.bench.run.plan import shares


class Transport:
    """Takes datagrams, or raises."""

    def __init__(self):
        self.sent = []
        self.error = None

    def write(self, data):
        if self.error is not None:
            raise self.error
        self.sent.append(data)


def room(kind, **settings):
    books = Books(transport="udp", **settings)
    clock, failures = Clock(), []
    (share,) = shares(books.plan)
    made = kind(share, ("127.0.0.1", 7), books.tally, clock, failures.append)
    made.account = books.account
    made._endpoints = [Endpoint(made, flow) for flow in range(books.plan.flows)]
    for endpoint in made._endpoints:
        endpoint.transport = Transport()
    return books, made, clock, failures


def test_a_timetable_ends_with_the_window():
    _, offer, _, _ = room(OpenUDP, model="open", rate=10.0, duration=1.0, cooldown=0.5)
    timetable = Timetable(offer)
    assert timetable.next() == BEGIN
    assert len(timetable.take(BEGIN + 10 * SECOND)) == 15
    assert timetable.next() == NEVER
    assert timetable.take(NEVER) == []
    assert not timetable.spent


def test_a_timetable_gives_a_slice_at_a_time_and_then_the_rest():
    _, offer, _, _ = room(OpenUDP, model="open", rate=1000.0, duration=1.0)
    timetable = Timetable(offer)
    assert len(timetable.take(NEVER)) == SLICE
    assert len(timetable.rest()) == 1000 - SLICE


def test_what_was_never_reached_is_not_sent():
    books, offer, _, _ = room(OpenUDP, model="open", rate=1000.0, count=2000)
    offer.prepare()
    offer.begin()
    books.clock = BEGIN + 3 * SECOND
    offer.turn(books.clock)
    offer.finish()
    assert books.counts() == {"not_sent": 2000 - SLICE, "unanswered": SLICE}
    assert (books.tally.intended, books.tally.missing()) == (2000, 0)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_no_room_in_the_closed_loop(number):
    """The message is over, and the flow tries again a little later."""
    books, offer, clock, failures = room(ClosedUDP, window=2)
    (endpoint,) = offer._endpoints
    endpoint.transport.error = OSError(number, "no room")
    offer.prepare()
    offer.begin()
    assert books.counts() == {"send_buffer_full": 1}
    endpoint.transport.error = None
    clock.advance(PAUSE)
    assert len(endpoint.transport.sent) == 2
    offer.finish()
    assert books.counts() == {"send_buffer_full": 1, "unanswered": 2}
    assert (books.tally.intended, books.tally.sent, failures) == (3, 2, [])


def test_no_room_in_the_open_loop():
    books, offer, _, _ = room(OpenUDP, model="open", rate=10.0, count=10, flows=2)
    offer._endpoints[1].transport.error = BlockingIOError(errno.EAGAIN, "no room")
    offer.prepare()
    offer.begin()
    offer.turn(BEGIN + 2 * SECOND)
    offer.finish()
    assert books.counts() == {"send_buffer_full": 5, "unanswered": 5}


def test_no_room_in_a_flood():
    books, offer, _, _ = room(Flood, model="flood", count=100)
    offer._endpoints[0].transport.error = BlockingIOError(errno.EAGAIN, "no room")
    offer.prepare()
    offer.begin()
    assert offer.turn(BEGIN) > BEGIN, "others have their turn"
    assert books.counts() == {"send_buffer_full": 1}
    assert books.tally.missing() == 0


@pytest.mark.parametrize(
    "error", [MessageLengthError(), OSError(errno.EHOSTUNREACH, "No route"), OSError(errno.EPERM, "no")]
)
def test_what_cannot_be_sent_at_all_ends_the_run(error):
    books, offer, _, failures = room(ClosedUDP)
    offer._endpoints[0].transport.error = error
    offer.prepare()
    offer.begin()
    assert len(failures) == 1
    assert "127.0.0.1" in str(failures[0]) or "--size" in str(failures[0])
    offer.finish()
    assert books.tally.missing() == 0

"""Counts: they add up, every message ends in one place, and they can be stored."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest

from echobench.bench.run.histogram import Histogram
from echobench.bench.run.tally import ENDS, Tally, loss, lost, servers_loss


def filled(start):
    """A tally whose every field is another number."""
    tally = Tally()
    for number, field in enumerate(attrs.fields(Tally), start):
        if isinstance(getattr(tally, field.name), Histogram):
            getattr(tally, field.name).record(number * 1000)
        else:
            setattr(tally, field.name, number)
    return tally


def test_adding():
    whole = filled(1)
    whole.add(filled(100))
    for number, field in enumerate(attrs.fields(Tally), 1):
        value = getattr(whole, field.name)
        if isinstance(value, Histogram):
            assert (value.least, value.greatest, value.total) == (number * 1000, (number + 99) * 1000, 2)
        elif field.name == "window":
            assert value == number + 99, "they count at the same time"
        else:
            assert value == 2 * number + 99


def test_stored_and_read():
    stored = json.loads(json.dumps(filled(3).as_dict()))
    back = Tally.from_dict(stored)
    assert back.as_dict() == stored
    assert np.array_equal(back.from_send.counts, filled(3).from_send.counts)


@pytest.mark.parametrize("name", ENDS)
def test_every_end_counts_once(name):
    tally = Tally(intended=5)
    assert tally.missing() == 5
    setattr(tally, name, 5)
    assert tally.missing() == 0


def test_what_is_none():
    with pytest.raises(TypeError):
        Tally.from_dict({"colour": 3})
    with pytest.raises(KeyError):
        Tally.from_dict({"from_send": {}})


NOT_BACK = ("late", "truncated", "corrupted", "refused", "send_buffer_full", "not_sent", "unanswered")


@pytest.mark.parametrize("name", NOT_BACK)
def test_what_does_not_come_back_whole_and_in_time_is_lost(name):
    tally = Tally(intended=10, answered=6)
    setattr(tally, name, 4)
    assert (lost(tally), loss(tally)) == (4, 0.4)


@pytest.mark.parametrize("name", sorted(set(ENDS) - set(NOT_BACK)))
def test_what_is_not_lost(name):
    tally = Tally(intended=4)
    setattr(tally, name, 4)
    assert (lost(tally), loss(tally), servers_loss(tally)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("counts", "servers"),
    [
        ({"unanswered": 4}, 0.4),
        ({"not_sent": 4}, 0.0),
        ({"send_buffer_full": 4}, 0.0),
        ({"unanswered": 4, "our_receive_buffer": 4}, 0.0),
        ({"unanswered": 4, "our_receive_buffer": 3}, 0.1),
        ({"unanswered": 3, "not_sent": 2, "send_buffer_full": 1, "our_receive_buffer": 2}, 0.1),
        ({"unanswered": 1, "our_receive_buffer": 4}, 0.0),  # its count is of the whole run, the others of the window
    ],
)
def test_the_generators_own_losses_are_not_the_servers(counts, servers):
    assert servers_loss(Tally(intended=10, **counts)) == servers


def test_where_nothing_was_due_there_is_no_loss_to_tell():
    assert (loss(Tally()), servers_loss(Tally())) == (None, None)

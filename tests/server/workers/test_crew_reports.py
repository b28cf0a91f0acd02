"""Workers that are asked for a report: who is waited for, and which report counts."""

from __future__ import annotations

import pytest

from echobench.server.workers import crew as module
from echobench.server.workers.crew import SILENT


def test_fresh_reports(rig):
    it = rig(2)
    one, two = it.begin()
    done = []
    it.crew.fresh().addCallback(done.append)
    assert one.orders == two.orders == ["report"]
    one.answer()
    assert not done
    two.end()
    assert done == [None], "one that has ended need not answer"
    it.crew.fresh().addCallback(done.append)
    it.clock.advance(module.ANSWER)
    assert len(done) == 2, "nor is one waited for that is stopped"


def test_a_silent_worker_is_not_asked(rig):
    it = rig(2)
    one, two = it.begin()
    it.pass_time(SILENT + 1, one)
    done = []
    it.crew.fresh().addCallback(done.append)
    assert two.orders == []
    one.answer()
    assert done == [None]


def test_a_report_that_was_under_way_is_no_answer(rig):
    """It was made before anybody asked, and lacks what it is asked for."""
    it = rig(1)
    (one,) = it.begin()
    done = []
    it.crew.fresh().addCallback(done.append)
    one.report()
    assert not done
    first = one.asked
    it.crew.fresh().addCallback(done.append)
    one.answers = first
    one.report()
    assert done == [None], "the answer to the first question may be older than the second"
    one.answer()
    assert done == [None, None]


@pytest.mark.parametrize("replaced", [False, True])
def test_who_asked_sees_a_worker_that_has_ended_once(rig, replaced):
    """As one that has ended, and no longer in its place: else what it did would count twice."""
    it = rig(1)
    (one,) = it.begin()
    if replaced:
        it.crew.replace()
        it.started[1].serve()
    seen = []
    it.crew.fresh().addCallback(lambda _: seen.append((list(it.gone), it.crew.workers)))
    for each in it.started[1:]:
        each.answer()
    one.end("killed by SIGKILL")
    assert seen == [([one], it.started[1:])]


def test_a_parent_that_stood_still_does_not_say_that_workers_have_reported(rig):
    """They are not killed for that, but when they were heard of last is what it was."""
    it = rig(1, timeout=7)
    (one,) = it.begin()
    heard = one.heard_at
    it.clock.advance(20)
    assert (one.heard_at, one.over, one.silent) == (heard, False, False)
    it.pass_time(SILENT + 1)
    assert (one.over, one.silent) == (False, True)

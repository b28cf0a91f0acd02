"""Who is started, replaced and killed when, with a clock and processes that the test makes."""

from __future__ import annotations

import pytest

from echobench.server.workers.crew import AT_ONCE, GRACE, NO_MEANS, SILENT, STARTING
from echobench.server.workers.deaths import FIRST, MOST, QUICK


def test_a_dead_worker_is_started_again_after_a_pause(rig):
    it = rig(2)
    _, second = it.begin()
    it.pass_time(5, *it.started)
    second.end("killed by SIGKILL")
    assert len(it.started) == 2
    it.clock.advance(FIRST)
    assert [each.number for each in it.started] == [0, 1, 1]
    assert not it.failed


def test_a_crash_loop_ends_the_whole_with_a_sentence(rig):
    it = rig(1)
    it.begin()
    for _ in range(MOST):
        assert not it.failed
        it.started[-1].end("killed by SIGSEGV")
        it.clock.advance(1.0)
    (sentence,) = it.failed
    assert sentence == (
        f"worker 0 ended {MOST} times in a row as soon as it had started, the last time with: killed by SIGSEGV"
    )
    it.clock.advance(60)
    assert len(it.started) == MOST


def test_one_that_lives_for_a_while_is_no_crash_loop(rig):
    it = rig(1)
    it.begin()
    for _ in range(3 * MOST):
        it.pass_time(QUICK + 1, it.started[-1])
        it.started[-1].end()
        it.clock.advance(FIRST)
        it.started[-1].serve()
    assert not it.failed


def test_a_worker_that_says_why_it_cannot_serve_ends_the_start_at_once(rig):
    it = rig(2)
    it.crew.begin()
    it.started[0].why = "engine completion is not available"
    it.started[0].end()
    assert it.failed == ["worker 0 cannot serve: engine completion is not available"]


def test_no_means_at_the_start(rig):
    it = rig(2)
    it.error = OSError(24, "Too many open files")
    it.crew.begin()
    assert it.failed == ["worker 0 cannot be started: Too many open files"]


def test_after_one_that_cannot_be_started_no_other_is_tried(rig):
    it = rig(3)
    tried = []

    def start(place):
        tried.append(place.number)
        if place.number == 1:
            raise OSError(11, "Resource temporarily unavailable")
        return it.start(place)

    it.crew._start = start
    it.crew.begin()
    assert tried == [0, 1]
    assert it.failed == ["worker 1 cannot be started: Resource temporarily unavailable"]


def test_no_means_later_are_waited_for(rig):
    it = rig(1)
    it.begin()
    it.error = OSError(24, "Too many open files")
    it.started[0].end()
    it.pass_time(60)
    assert (len(it.started), it.failed) == (1, [])
    it.error = None
    it.clock.advance(NO_MEANS)
    assert len(it.started) == 2


def test_silence_is_told_once_and_so_is_its_end(rig, caplog_of):
    it = rig(2)
    one, two = it.begin()
    it.pass_time(SILENT + 10, one)
    assert [each for each in caplog_of() if "has not reported" in each] == [
        f"worker 1, process {two.pid}, has not reported for {SILENT:.0f} s: it is stopped, or stuck, and its "
        "connections wait"
    ]
    two.report()
    assert caplog_of()[-1] == "worker 1 reports again"
    assert not two.over


def test_a_worker_that_is_silent_for_too_long_is_replaced(rig):
    it = rig(2, timeout=7.0)
    one, two = it.begin()
    it.pass_time(6.5, one)
    assert not two.over
    it.pass_time(2, one)
    assert two.how == "killed, since it had not reported for 7 s (--worker-timeout)"
    assert len(it.started) == 3
    assert not one.over


def test_a_parent_that_was_stopped_itself_kills_nobody(rig):
    it = rig(2, timeout=7.0)
    it.begin()
    it.clock.advance(3600)
    assert not any(each.over for each in it.started)


def test_a_worker_that_never_begins_is_killed(rig):
    it = rig(1)
    it.crew.begin()
    it.pass_time(STARTING + 2)
    assert it.started[0].how == "killed, since it did not begin to serve within 60 s"


def test_workers_are_replaced_one_after_the_other(rig):
    it = rig(2)
    one, two = it.begin()
    done = []
    it.crew.replace().addCallback(done.append)
    assert [each.number for each in it.started[2:]] == [0]
    assert one.orders == [], "the old one serves until the new one does"
    it.started[2].serve()
    assert (one.orders, two.orders) == (["retire"], [])
    assert [each.number for each in it.started[2:]] == [0, 1]
    it.started[3].serve()
    assert two.orders == ["retire"]
    assert not done
    two.end("status 0")
    one.end("status 0")
    assert done == [None]
    assert len(it.started) == 4
    assert not it.failed


def test_an_old_worker_that_does_not_end_is_killed(rig):
    it = rig(1, close_timeout=3.0)
    (one,) = it.begin()
    it.crew.replace()
    it.started[1].serve()
    it.pass_time(2 * 3.0, it.started[1])
    assert not one.over
    it.pass_time(GRACE, it.started[1])
    assert one.how == "killed by SIGKILL"
    assert len(it.started) == 2


def test_a_new_worker_that_cannot_serve_replaces_nobody(rig):
    it = rig(2)
    one, two = it.begin()
    it.crew.replace()
    it.started[2].end()
    assert (one.orders, two.orders) == ([], [])
    it.pass_time(30, one, two)
    assert len(it.started) == 3
    it.crew.replace()
    assert len(it.started) == 4, "it can be tried again"


def test_no_means_to_replace_anybody(rig):
    it = rig(1)
    (one,) = it.begin()
    it.error = OSError(24, "Too many open files")
    it.crew.replace()
    assert one.orders == []
    it.error = None
    it.crew.replace()
    assert len(it.started) == 2


def test_the_old_one_dies_while_the_new_one_starts(rig):
    it = rig(1)
    (one,) = it.begin()
    done = []
    it.crew.replace().addCallback(done.append)
    one.end("killed by SIGKILL")
    it.pass_time(2)
    assert len(it.started) == 2, "the new one takes its place"
    it.started[1].serve()
    assert done == [None]


def test_both_die_while_one_replaces_the_other(rig):
    it = rig(1)
    (one,) = it.begin()
    it.crew.replace()
    one.end("killed by SIGKILL")
    it.started[1].end("killed by SIGKILL")
    it.clock.advance(FIRST)
    assert len(it.started) == 3
    assert not it.failed


def test_asked_twice_all_are_replaced_once_more(rig):
    it = rig(1)
    (one,) = it.begin()
    it.crew.replace()
    it.crew.replace()
    assert len(it.started) == 2
    it.started[1].serve()
    one.end("status 0")
    assert len(it.started) == 3
    assert it.started[1].orders == []


def test_who_asks_in_the_meantime_waits_for_the_end_too(rig):
    it = rig(1)
    (one,) = it.begin()
    done = []
    it.crew.replace().addCallback(lambda _: done.append("first"))
    it.crew.replace().addCallback(lambda _: done.append("second"))
    it.started[1].serve()
    one.end("status 0")
    it.started[2].serve()
    assert done == []
    it.started[1].end("status 0")
    assert sorted(done) == ["first", "second"]


def test_no_worker_is_replaced_while_the_one_before_it_leaves(rig):
    """Else a place would have three, and lose sight of one."""
    it = rig(2)
    one, two = it.begin()
    it.crew.replace()
    it.started[2].serve()
    it.started[3].end()  # the second place's; so that is over, but for the first old one
    it.crew.replace()
    assert len(it.started) == 4
    one.end("status 0")
    assert len(it.started) == 5, "now the first is replaced once more"
    it.started[4].serve()
    assert it.started[2].orders == ["retire"]
    assert not two.over


def test_told_to_end_while_a_new_worker_starts(rig, caplog_of):
    """The new one serves for a moment before it hears of it: nobody gets more time for that."""
    it = rig(1, close_timeout=3600.0)
    (one,) = it.begin()
    it.crew.replace()
    it.crew.drain()
    it.crew.abort()
    it.started[1].serve()
    assert one.orders == ["drain", "abort"]
    it.clock.advance(AT_ONCE)
    assert one.over
    assert it.started[1].over
    assert not [each for each in caplog_of() if "before it served" in each or "have been replaced" in each]


def test_all_are_drained_and_waited_for(rig):
    it = rig(3)
    it.begin()
    done = []
    it.crew.drain().addCallback(done.append)
    assert [each.orders for each in it.started] == [["drain"]] * 3
    it.started[0].end("status 0")
    it.started[1].end("killed by SIGKILL")  # a crash while draining
    assert not done
    it.started[2].end("status 0")
    assert done == [None]
    it.clock.advance(60)
    assert len(it.started) == 3
    assert not it.failed


def test_one_that_does_not_drain_is_killed_at_the_deadline(rig):
    it = rig(1, close_timeout=3.0)
    it.begin()
    it.crew.drain()
    it.clock.advance(3.0 + GRACE)
    assert it.started[0].how == "killed by SIGKILL"


def test_without_a_close_timeout_nobody_is_killed(rig):
    it = rig(1, close_timeout=None)
    it.begin()
    it.crew.drain()
    it.clock.advance(1e6)
    assert not it.started[0].over


def test_told_to_end_at_once(rig):
    it = rig(1)
    it.begin()
    it.crew.drain()
    it.crew.abort()
    assert it.started[0].orders == ["drain", "abort"]
    it.clock.advance(AT_ONCE)
    assert it.started[0].how == "killed by SIGKILL"


def test_those_that_start_are_drained_too(rig):
    it = rig(1)
    it.begin()
    it.crew.replace()
    done = []
    it.crew.drain().addCallback(done.append)
    assert [each.orders for each in it.started] == [["drain"], ["drain"]]
    for each in it.started:
        each.end("status 0")
    assert done == [None]


def test_nobody_is_left_to_drain(rig):
    it = rig(1)
    it.begin()
    it.started[0].end()
    done = []
    it.crew.drain().addCallback(done.append)
    assert done == [None]
    it.clock.advance(60)
    assert len(it.started) == 1


@pytest.fixture
def caplog_of():
    from twisted.logger import formatEvent, globalLogPublisher

    events = []

    def observe(event):
        events.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lambda: events
    globalLogPublisher.removeObserver(observe)

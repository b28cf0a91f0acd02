"""What SIGUSR2 and the stats line say of several workers."""

from __future__ import annotations

import pytest
from twisted.internet.defer import succeed
from twisted.logger import capturedLogs

from echobench import Reason, Snapshot
from echobench.server.stats import line
from echobench.server.workers.sums import SumReporter, totals


class Two:
    """A server of two workers."""

    def __init__(self, *faults):
        self.each = {number: Snapshot(datagrams=5, faults=each) for number, each in enumerate(faults)}

    def fresh(self):
        return succeed(None)

    def snapshot(self):
        return sum(self.each.values(), Snapshot())

    def snapshots(self):
        return self.each


def listed(server):
    reporter = SumReporter(server, lambda: 0.0, line)
    with capturedLogs() as logs:
        reporter.each()
    return [each["totals"] for each in logs]


def test_faults_on_purpose_are_in_the_list_and_add_up():
    one, two, both = listed(Two({"drop": 2, "delay": 0}, {"drop": 1, "delay": 4}))
    assert one.endswith(" drops=none faults=drop:2")
    assert two.endswith(" drops=none faults=delay:4,drop:1")
    assert both.endswith(" drops=none faults=delay:4,drop:3")


def test_faults_that_have_not_struck_are_told_from_a_server_without_any():
    assert {each.rpartition(" ")[2] for each in listed(Two({"drop": 0}, {"drop": 0}))} == {"faults=none"}
    assert {each.rpartition(" ")[2] for each in listed(Two({}, {}))} == {"drops=none"}


@pytest.mark.parametrize("struck", [0, 3])
def test_the_interval_of_all_workers_has_faults_too(struck):
    times = iter([0.0, 1.0])
    server = Two({"drop": 0}, {"drop": 0})
    reporter = SumReporter(server, lambda: next(times), line)
    with capturedLogs() as logs:
        reporter()
        server.each[1] = Snapshot(datagrams=5, faults={"drop": struck})
        reporter()
    assert logs[0]["line"].endswith("faults=drop:3" if struck else "faults=none")


def test_drops_are_listed_with_those_of_the_kernel():
    assert totals(Snapshot(kernel_drops=2, drops={Reason.IDLE: 1})).endswith(" drops=idle:1,kernel:2")

"""What many machines measured, as one result."""

from __future__ import annotations

import itertools
import json
import time

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rigs.blast_results import ENVIRONMENT, VALIDATOR, a_result, tallies

from echobench.bench.cluster.merge import merge, together
from echobench.bench.run.division import divide
from echobench.bench.run.histogram import DEPTHS, Histogram
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import Clock, Machine, Result
from echobench.bench.run.tally import ENDS, Tally
from echobench.bench.run.verdicts import status

CLOCK = Clock(ahead=1_200_000, error=150_000, tries=20)


def of(values):
    histogram = Histogram()
    histogram.record(values)
    return histogram


def machines(number, changes=(), **plan):
    """Give a plan, and as many machines that measured their parts; ``changes`` are to the result of each."""
    whole = Plan(host="server.example", port=7007, machines=number, **{"flows": 4 * number, **plan})
    made = []
    for index, part in enumerate(divide(whole)):
        own = attrs.evolve(a_result(), plan=part.plan(whole), **(changes[index] if changes else {}))
        made.append(Machine(name=f"m{index}", part=part, clock=CLOCK, missing="", result=own))
    return whole, made


def merged(whole, made, **how):
    return merge(whole, made, started="2026-03-01T12:00:00+00:00", environment=ENVIRONMENT, **how)


@given(st.lists(st.lists(st.integers(0, 1 << 42), max_size=60), min_size=1, max_size=6), st.sampled_from(DEPTHS))
def test_percentiles_are_those_of_all_samples_together(samples, depth):
    whole = together([Tally(from_send=of(each)) for each in samples]).from_send
    everything = list(itertools.chain(*samples))
    assert whole.total == len(everything)
    if not everything:
        assert np.isnan(whole.percentile(depth))
        return
    assert whole.percentile(depth) == of(everything).percentile(depth)
    exact = float(np.percentile(np.minimum(everything, (1 << 42) - 1), depth, method="inverted_cdf"))
    assert abs(whole.percentile(depth) - exact) <= exact / 1000 + 1
    assert whole.percentile(100) == min(max(everything), (1 << 42) - 1)
    assert whole.sum == sum(min(each, (1 << 42) - 1) for each in everything)


@given(st.lists(tallies(), max_size=5))
def test_counts_add_up(each):
    whole = together(each)
    for name in (*ENDS, "intended", "sent", "answered_bytes", "duplicates", "connections", "connections_lost"):
        assert getattr(whole, name) == sum(getattr(one, name) for one in each)
    assert whole.missing() == sum(one.missing() for one in each)
    assert whole.window == max((one.window for one in each), default=0.0)


@given(st.permutations(range(4)))
def test_the_order_of_the_machines_does_not_matter(order):
    each = [Tally(answered=3 + n, from_send=of([n, 1000 * n])) for n in range(4)]
    assert together([each[n] for n in order]).as_dict() == together(each).as_dict()


def test_a_merged_result_has_each_machines_own_and_survives_being_stored():
    whole, made = machines(3)
    result = merged(whole, made)
    assert result.tally.answered == sum(each.result.tally.answered for each in made)
    assert [process.index for process in result.processes] == [0, 1, 2]
    stored = json.loads(json.dumps(result.as_dict()))
    VALIDATOR.validate(stored)
    again = Result.from_dict(stored)
    assert again.as_dict() == result.as_dict()
    assert again.machines[1].result.plan.flows == 4
    assert again.machines[1].clock == CLOCK
    assert status(result) == 0


def test_a_missing_machine_is_named_and_is_a_failure():
    whole, made = machines(3)
    made[1] = attrs.evolve(made[1], result=None, missing="the connection to it is lost", clock=None)
    result = merged(whole, made)
    [verdict] = [each for each in result.verdicts if each.name == "machine missing"]
    assert verdict.level == "failure"
    assert "1 of 3 machines gave no result (m1: the connection to it is lost)" in verdict.sentence
    assert "on 4 of 12 flows" in verdict.sentence
    assert status(result) == 1
    assert result.tally.answered == 2 * a_result().tally.answered
    VALIDATOR.validate(json.loads(json.dumps(result.as_dict())))


def test_the_generator_is_judged_by_machine_and_together():
    """A machine that had no time left is not hidden behind the others that had."""
    from echobench.bench.run.verdicts import judge

    whole, made = machines(3)
    hot = attrs.evolve(made[2].result.processes[0], cpu_share=0.99)
    own = attrs.evolve(made[2].result, processes=(hot,))
    made[2] = attrs.evolve(made[2], result=attrs.evolve(own, verdicts=judge(own)))
    result = merged(whole, made)
    [verdict] = [each for each in result.verdicts if each.name == "generator-bound"]
    assert verdict.sentence.startswith("On 1 of 3 machines (m2). m2: ")
    assert "generator-bound" in {each.name for each in result.machines[2].result.verdicts}
    assert not merged(*machines(3)).verdicts


def test_a_process_that_failed_on_a_machine_is_named_with_it():
    whole, made = machines(2, [{}, {"failures": ("process 0: it was ended by signal 9",)}])
    result = merged(whole, made)
    assert result.failures == ("m1, process 0: it was ended by signal 9",)
    assert status(result) == 1


def test_machines_that_reach_different_servers():
    whole, made = machines(3, [{}, {"address": "192.0.2.9"}, {}])
    [verdict] = merged(whole, made).verdicts
    assert verdict.name == "several addresses"
    assert "192.0.2.1 from m0, m2; 192.0.2.9 from m1" in verdict.sentence


def test_machines_that_measured_for_different_times():
    short = attrs.evolve(a_result().tally, window=5.0)
    whole, made = machines(2, [{}, {"tally": short}])
    [verdict] = merged(whole, made).verdicts
    assert (verdict.name, verdict.level) == ("windows differ", "warning")
    assert "m1 measured for 5.00 s, and m0 for 10.00 s" in verdict.sentence


def test_loopback_on_one_machine_is_that_of_all():
    whole, made = machines(2, [{}, {"environment": {**ENVIRONMENT, "loopback": True}}])
    assert [each.name for each in merged(whole, made).verdicts] == ["loopback"]


def test_no_machine_gave_a_result():
    whole, made = machines(2)
    made = [attrs.evolve(each, result=None, missing="it hangs") for each in made]
    result = merged(whole, made)
    assert status(result) == 1
    assert result.tally.sent == 0


def test_a_thousand_machines_merge_in_less_than_a_second():
    """The best of three, in time of the processor, as the host may be busy."""
    random = np.random.default_rng(1)
    times = [of(random.lognormal(11 + n / 100, 0.5, 10**4).astype(np.int64)) for n in range(20)]
    whole, made = machines(
        1000, [{"tally": attrs.evolve(a_result().tally, from_send=times[n % 20])} for n in range(1000)]
    )
    taken = []
    for _ in range(3):
        began = time.process_time()
        result = merged(whole, made)
        taken.append(time.process_time() - began)
    assert result.tally.answered == 1000 * a_result().tally.answered
    assert result.tally.from_send.total == 1000 * 10**4
    assert len(result.machines) == 1000
    assert min(taken) < 1.0, taken

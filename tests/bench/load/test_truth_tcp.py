"""TCP servers that do wrong in ways that are known: the bench says of each exactly that."""

from __future__ import annotations

import pytest
from rigs import truth
from rigs.blasting import UNHURRIED
from rigs.helpers import needs_linux
from rigs.truth import TCP, at, counted, every
from rigs.undisturbed import repeated, unless_disturbed

from echobench.bench.load.tape import LAP

pytestmark = needs_linux


@pytest.fixture
def blast(blast_tcp):
    return blast_tcp


COUNT = 400


def run(blast, behaviour, count=COUNT, size=64, reset=False, **plan):
    with TCP(behaviour, size, reset) as server:
        ran = blast(server.port, size=str(size), count=count, **{"duration": 30.0, "timeout": 2.0, **plan})
    return ran, server


@pytest.mark.parametrize(("flows", "window"), [(1, 1), (1, 50), (5, 3)])
@pytest.mark.parametrize("size", [1, 64, 100_000])
def test_all_is_well(blast, flows, window, size):
    ran, server = run(blast, truth.honest, 60, size, flows=flows, window=window, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 60, "connections": flows}
    assert (ran.tally.sent, server.seen, server.accepted) == (60, 60, flows)
    assert ran.tally.answered_bytes == 60 * size
    assert ran.tally.from_send.total == 60


def pieces(data, n):
    """Answer a message in four pieces, which arrive on their own."""
    return [(0.002 * i, data[part]) for i, part in enumerate((slice(1), slice(1, 17), slice(17, 60), slice(60, None)))]


def test_answers_in_pieces(blast):
    ran, _ = run(blast, pieces, 30, window=2, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 30, "connections": 1}
    assert ran.tally.from_send.least >= 6e6, "a message is there when its last byte is"


@pytest.mark.parametrize("position", [0, 3, 4, 7, 8, 15, 16, 40, 63])
def test_a_wrong_byte_ends_the_connection(blast, position):
    """After it nothing can be told from anything; what was under way behind it can no more be answered."""
    ran, server = run(blast, at(100, truth.corrupt(position)), window=4)
    counts = counted(ran.tally)
    behind = counts.pop("refused", 0)  # fewer than 3, if right answers came in the same read: nothing is sent for them
    assert counts == {"answered": 99, "corrupted": 1, "connections": 1, "connections_lost": 1}
    assert ran.tally.intended == 100 + behind <= 103
    assert server.ended == ["reset"]


@pytest.mark.parametrize(
    ("fault", "right"), [(at(100, truth.drop), 99), (at(100, truth.duplicate), 100), (truth.swap(100), 99)]
)
def test_a_message_that_is_missing_comes_twice_or_too_early(blast, fault, right):
    """With several under way, the next bytes are those of another message; after a second answer maybe of none."""
    ran, server = run(blast, fault, window=16)
    counts = counted(ran.tally)
    assert counts["answered"] == right
    assert counts.get("corrupted", 0) + counts.get("unexpected", 0) == counts["connections_lost"] == 1
    assert server.ended == ["reset"]


@pytest.mark.parametrize("position", [0, 15, 4096, 65520, 65521, 99_999])
@pytest.mark.parametrize("window", [1, 3])
def test_a_wrong_byte_anywhere_in_a_large_message(blast, position, window):
    ran, _ = run(blast, at(7, truth.corrupt(position)), 20, 100_000, window=window, timeout=5.0)
    assert (ran.tally.answered, ran.tally.corrupted, ran.tally.connections_lost) == (6, 1, 1)


def test_an_answer_that_belongs_to_another_connection(blast):
    kept: list[bytes] = []

    def astray(data, n):
        kept.append(data)
        return [(0, kept[0])]

    ran, _ = run(blast, astray, 2, 5000, flows=2)
    assert counted(ran.tally) == {"answered": 1, "corrupted": 1, "connections": 2, "connections_lost": 1}


def test_an_answer_of_a_lap_ago(blast):
    """Messages as long as the tape's lap all begin at the same place of one, and differ all the same."""
    kept: list[bytes] = []

    def again(data, n):
        kept.append(data)
        return [(0, kept[-2] if n == 5 else data)]

    ran, _ = run(blast, again, 9, LAP)
    assert (ran.tally.answered, ran.tally.corrupted) == (4, 1)


def test_a_server_that_does_not_read_for_a_while(blast):
    """40 MB are under way, which no buffer holds: what is not sent at first is sent when there is room."""
    ran, server = run(blast, truth.stall(1, 0.5), 50, 1 << 20, window=40, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 50, "connections": 1}
    assert server.seen == 50


def test_the_other_connections_go_on(blast):
    ran, server = run(blast, at(100, truth.corrupt(20)), flows=3)
    assert counted(ran.tally) == {"answered": COUNT - 1, "corrupted": 1, "connections": 3, "connections_lost": 1}
    assert server.seen == COUNT


def test_a_byte_too_many_with_nothing_under_way(blast):
    ran, _ = run(blast, at(10, truth.grow), 10)
    assert counted(ran.tally)["answered"] == 10
    assert counted(ran.tally).get("unexpected", 0) == ran.tally.connections_lost == 1


def test_bytes_that_are_missing_shift_all_that_follow(blast):
    ran, _ = run(blast, at(50, truth.cut(63)), flows=2, window=2)
    assert ran.tally.corrupted == ran.tally.connections_lost == 1
    assert ran.tally.refused <= 1
    assert ran.tally.answered + ran.tally.refused == COUNT - 1


@pytest.mark.parametrize("reset", [False, True])
def test_the_server_ends_the_only_connection(blast, reset):
    """The run is over, before its time, with what was counted until then."""
    ran, _ = run(blast, at(50, truth.hang_up), reset=reset, window=3)
    assert counted(ran.tally)["answered"] <= 49
    assert ran.tally.answered + ran.tally.refused == ran.tally.intended <= 52
    assert (ran.tally.connections, ran.tally.connections_lost) == (1, 1)
    assert ran.took < 8, "of 10 s"


@pytest.mark.parametrize("reset", [False, True])
def test_the_server_ends_one_of_three_connections(blast, reset):
    ran, _ = run(blast, at(50, truth.hang_up), reset=reset, flows=3)
    assert counted(ran.tally) == {"answered": COUNT - 1, "refused": 1, "connections": 3, "connections_lost": 1}


@repeated
def test_nobody_answers(blast):
    """TCP loses nothing, so nothing is sent in its place; at the end nothing has come."""
    ran, server = run(blast, truth.mute, flows=2, window=2, duration=0.3, timeout=0.2)
    assert counted(ran.tally) == {"unanswered": 4, "connections": 2}
    assert server.seen == 4
    assert ran.took >= 0.5
    with unless_disturbed():
        assert ran.took < 1.5


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_open_loop(blast, arrivals):
    ran, server = run(blast, truth.honest, 200, model="open", rate=400.0, arrivals=arrivals, flows=3, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 200, "connections": 3}
    assert ran.tally.lateness.total == 200
    assert server.accepted == 3


@repeated
def test_open_loop_over_a_connection_that_ends(blast):
    """What is due afterwards goes over the others."""
    ran, _ = run(blast, at(50, truth.hang_up), 200, model="open", rate=400.0, flows=2, timeout=2.0)
    assert ran.tally.intended == ran.tally.answered + ran.tally.refused == 200
    assert ran.tally.refused >= 1
    assert ran.tally.connections_lost == 1
    with unless_disturbed():
        assert ran.tally.refused < 20


@repeated
def test_open_loop_over_the_only_connection_ends_with_it(blast):
    ran, _ = run(blast, at(50, truth.hang_up), None, model="open", rate=400.0, duration=5.0)
    assert ran.tally.answered <= 49 < ran.tally.intended
    assert ran.took < 4.5, "of 5 s"
    with unless_disturbed():
        assert ran.tally.answered == 49  # what is sent in one go behind a pause is reset, with the answers
        assert ran.tally.intended < 200


@pytest.mark.slow
@repeated
def test_messages_wait_for_each_other_beyond_a_bound(blast):
    """4 MiB under way on a connection are 64 messages of 64 KiB: the others of 100 are not sent, and say so."""
    ran, _ = run(blast, truth.mute, 100, 65536, model="open", rate=2000.0, timeout=0.5)
    tally = ran.tally
    assert set(counted(tally)) == {"unanswered", "not_sent", "connections"}
    assert (tally.intended, tally.unanswered + tally.not_sent, tally.unanswered) == (100, 100, tally.sent)
    assert tally.sent <= 64
    with unless_disturbed():
        assert tally.sent == 64  # a pause as long as the time-out ends the run while some are still on their way


def test_sizes_that_vary(blast):
    """The server answers bytes: its messages of 1 are ours in pieces."""
    with TCP(truth.honest, 1) as server:
        ran = blast(server.port, size="1-400", count=100, flows=2, window=3, **UNHURRIED)
    assert counted(ran.tally) == {"answered": 100, "connections": 2}
    assert ran.tally.answered_bytes == server.seen > 100


@pytest.mark.slow
def test_the_margins_do_not_count(blast):
    """Only what is due within the window is counted, though the server sees all of it."""
    with TCP() as server:
        ran = blast(server.port, model="open", rate=200.0, warmup=0.25, duration=0.5, cooldown=0.25, timeout=2.0)
    assert counted(ran.tally) == {"answered": 100, "connections": 1}
    assert server.seen == 200


@repeated
def test_stopping(blast):
    with TCP() as server:
        ran = blast(server.port, duration=30.0, stop_after=0.3, flows=2)
    assert counted(ran.tally) == {"answered": ran.tally.intended, "connections": 2}
    with unless_disturbed():
        assert ran.tally.answered > 10
        assert ran.took < 1.5


@repeated
def test_stopping_before_it_begins(blast):
    with TCP() as server:
        ran = blast(server.port, duration=30.0, stop_after=-1.0)
    assert (ran.tally.intended, server.seen) == (0, 0)
    with unless_disturbed():
        assert ran.took < 1.5


@pytest.mark.parametrize("share", [0, 1])
def test_a_share_is_its_own_flows_and_its_part_of_the_count(blast, share):
    with TCP(every(1, truth.honest)) as server:
        ran = blast(server.port, processes=2, flows=5, count=41, share=share, **UNHURRIED)
    assert server.accepted == (3, 2)[share]
    assert counted(ran.tally) == {"answered": (21, 20)[share], "connections": (3, 2)[share]}

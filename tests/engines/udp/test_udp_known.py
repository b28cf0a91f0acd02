"""Batches of a few messages like those before, which are answered at once, but by the same rules."""

from __future__ import annotations

import errno
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import pattern
from rigs.udp_rig import Script, needs_trains, received, send_train

from echobench import Reason
from echobench.guard import Guard, RateLimit

pytestmark = [
    pytest.mark.usefixtures("nothing_is_remembered"),
    pytest.mark.skipif(sys.platform != "linux", reason="the batched engine needs Linux"),
]

if sys.platform == "linux":
    from echobench.engines.udp.admission import Admission
    from echobench.engines.udp.batch import Batch


def test_a_few_messages_like_those_before_need_no_look_at_what_they_are(rig, monkeypatch):
    """Nor at who sent them: a batch of so many that looks the same, from the same sources, is answered at once."""
    here = rig()
    clients = [here.client(host) for host in ("127.0.0.1", "127.9.8.7", "127.0.0.1")]
    for cycle in range(3):
        if cycle == 2:
            monkeypatch.setattr(Batch, "_learn", lambda *args: pytest.fail("it is learnt again"))
            monkeypatch.setattr(Admission, "_look", lambda *args: pytest.fail("its sources are looked at"))
        for number in (3, 1, 2):
            for client in clients[:number]:
                client.send(b"same")
            assert here.serve() == number
            assert [client.recv(10) for client in clients[:number]] == [b"same"] * number
    assert here.counters.datagrams == 18
    assert here.counters.datagram_bytes == 72


@needs_trains
@given(
    sends=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from([100, 150])), min_size=1, max_size=4),
        min_size=2,
        max_size=12,
    )
)
def test_trains_of_one_length_are_cut_up_as_each_of_them_came(rig, sends):
    """Their headers are the same, and only their control data tell them apart."""
    here = rig()
    clients = [here.client() for _ in range(3)]
    for batch in sends:
        before = here.counters.datagrams, here.counters.datagram_bytes
        for who, segment in batch:
            send_train(clients[who], pattern(600), segment)
        assert here.serve() == len(batch)
        for who, segment in batch:
            expected = [pattern(600)[at : at + segment] for at in range(0, 600, segment)]
            assert received(clients[who], len(expected)) == expected
        assert here.counters.datagrams - before[0] == sum(600 // segment for _, segment in batch)
        assert here.counters.datagram_bytes - before[1] == 600 * len(batch)
    here.close()


def known(rig, number=2, **how):
    """Make a batch that knows so many messages, and the clients that sent them."""
    here = rig(**how)
    clients = [here.client() for _ in range(number)]
    for _ in range(2):
        for client in clients:
            client.send(b"known")
        here.serve()
        for client in clients:
            assert client.recv(10) == b"known"
    return here, clients


def test_what_is_known_is_refused_once_the_rules_refuse_it(rig):
    guard = Guard()
    here, (good, bad) = known(rig, guard=guard)
    guard.add_own_port(bad.getsockname()[1])
    for client in (good, bad):
        client.send(b"known")
    here.serve()
    assert good.recv(10) == b"known"
    assert here.counters.drops == {Reason.SOURCE_PORT_OWN: 1}
    assert here.counters.datagrams == 5


def test_known_headers_from_a_source_that_is_refused_are_refused(rig):
    guard = Guard()
    here, (good, _) = known(rig, guard=guard)
    bad = here.client()
    guard.add_own_port(bad.getsockname()[1])
    for _ in range(2):
        for client in (good, bad):
            client.send(b"known")
        here.serve()
        assert good.recv(10) == b"known"
    assert here.counters.drops == {Reason.SOURCE_PORT_OWN: 2}


def test_what_is_known_is_subject_to_a_rate_that_comes_later(rig):
    guard = Guard()
    here, (client,) = known(rig, 1, guard=guard)
    guard.rate = RateLimit(1, 1, lambda: 1000.0)
    for _ in range(2):
        client.send(b"known")
        here.serve()
    assert here.counters.drops == {Reason.UDP_RATE: 1}
    assert here.counters.datagrams == 3


@pytest.mark.parametrize("outcomes", [(1, -errno.EAGAIN), (-errno.EAGAIN, 1, -errno.EAGAIN)])
def test_what_is_known_and_finds_no_room_is_sent_later(rig, monkeypatch, outcomes):
    here, clients = known(rig)
    for client in clients:
        client.send(b"known")
    Script(monkeypatch, *outcomes)
    _, unfinished = here.begin()
    assert unfinished is not None
    for _ in unfinished:
        pass
    assert [client.recv(10) for client in clients] == [b"known"] * 2
    assert here.counters.datagrams == 6
    assert here.counters.datagram_bytes == 30
    assert not here.counters.drops


def test_one_message_after_the_other_is_learnt_once_whatever_its_length(rig, monkeypatch):
    here = rig()
    client = here.client()
    client.send(b"learnt")
    here.serve()
    assert client.recv(10) == b"learnt"
    monkeypatch.setattr(Batch, "_learn", lambda *args: pytest.fail("it is learnt again"))
    sizes = (7, 0, 6, 40_000, 6, 6, 0)
    for size in sizes:
        client.send(pattern(size))
        assert here.serve() == 1
        assert client.recv(1 << 17) == pattern(size)
        assert here.batch.most == (6 if size == 40_000 else 64), "the cache still has what has been received"
    assert here.counters.datagrams == 1 + len(sizes)
    assert here.counters.datagram_bytes == 6 + sum(sizes)


@pytest.mark.parametrize("number", [2, 10])
def test_a_message_of_another_length_leaves_larger_batches_as_they_were(rig, number):
    """Ten show that more like them will come, whatever their number; two do not."""
    here = rig()
    client = here.client()
    for size in (5, 7):
        for count in (number, 1, number):
            for _ in range(count):
                client.send(pattern(5))
            here.serve()
            assert received(client, count) == [pattern(5)] * count
        client.send(pattern(size))
        here.serve()
        assert client.recv(10) == pattern(size)
    for _ in range(number):
        client.send(pattern(5))
    here.serve()
    assert received(client, number) == [pattern(5)] * number
    assert here.counters.datagram_bytes == 5 * (5 * number + 3) + 7


@needs_trains
@given(
    sends=st.lists(
        st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from([50, 250, 600, 625]), st.sampled_from([100, 100, 150])),
            min_size=1,
            max_size=2,
        ),
        min_size=2,
        max_size=20,
    ),
    room=st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_lengths_that_change_from_batch_to_batch(rig, sends, room):
    """With trains and single datagrams, alone and in pairs, and a buffer that is full now and then."""
    here = rig()
    clients = [here.client() for _ in range(3)]
    for batch, free in zip(sends, room, strict=False):
        before = here.counters.datagrams, here.counters.datagram_bytes
        expected = [[] for _ in clients]
        for who, size, segment in batch:
            if size > segment:
                send_train(clients[who], pattern(size), segment)
            else:
                clients[who].send(pattern(size))
            expected[who] += [pattern(size)[at : at + segment] for at in range(0, size, segment)]
        with pytest.MonkeyPatch.context() as patch:
            if not free:
                Script(patch, -errno.EAGAIN, -errno.EAGAIN)
            assert here.serve() == len(batch)
        for client, datagrams in zip(clients, expected, strict=True):
            assert received(client, len(datagrams)) == datagrams
        assert here.counters.datagrams - before[0] == sum(map(len, expected))
        assert here.counters.datagram_bytes - before[1] == sum(size for _, size, _ in batch)
    here.close()

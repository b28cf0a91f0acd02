"""Servers that answer nothing, or only some: the run is a failure, whatever the load and the engine."""

from __future__ import annotations

import contextlib
import socket
import threading

import attrs
import pytest
from rigs import truth
from rigs.blast_results import a_result
from rigs.helpers import needs_linux

from echobench.bench.run.plan import Plan
from echobench.bench.run.verdicts import judge, status

pytestmark = needs_linux


@pytest.fixture
def blast(blast_tcp):
    return blast_tcp


SHORT = {"warmup": 0.2, "duration": 0.3, "timeout": 0.3}
BIG = "1000000"  # bytes: a few such messages are more than any buffer holds


def verdicts(ran, **plan):
    """What is said of a run, and its exit status."""
    result = attrs.evolve(a_result(), plan=Plan(host="127.0.0.1", **{**SHORT, **plan}), tally=ran.tally, processes=())
    result = attrs.evolve(result, verdicts=judge(result))
    return {each.name for each in result.verdicts if each.level == "failure"}, status(result)


@contextlib.contextmanager
def deaf():
    """A server that accepts connections, and reads nothing from them."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def one_at_a_time():
    """A server that serves a connection only when the one before it has ended."""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                peer = listener.accept()[0]
                with peer, contextlib.suppress(OSError):
                    while data := peer.recv(1 << 16):
                        peer.sendall(data)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "load",
    [{}, {"flows": 3, "window": 4}, {"size": "16-64"}, {"model": "open", "rate": 100.0}, {"model": "connect"}],
    ids=["rows", "window", "sizes", "open", "connect"],
)
@pytest.mark.parametrize("timeout", [0.1, 0.7])
def test_tcp_that_answers_nothing(blast, load, timeout):
    """What was sent in the warm-up counts nowhere, and the next message waits for its answer for ever."""
    with truth.TCP(truth.mute) as server:
        ran = blast(server.port, **{**SHORT, "timeout": timeout}, **load)
    assert ran.tally.answered == 0
    assert verdicts(ran, **load) == ({"nothing answered"}, 1)


@pytest.mark.parametrize("load", [{}, {"window": 4}], ids=["one", "window"])
def test_a_closed_loop_against_a_peer_that_does_not_read(blast, load):
    with deaf() as port:
        ran = blast(port, **SHORT, size=BIG, flows=2, **load)
    assert verdicts(ran, **load) == ({"nothing answered"}, 1)


def test_an_open_loop_against_a_peer_that_does_not_read(blast):
    load = {"model": "open", "rate": 100.0, "size": "10000000"}
    with deaf() as port:
        ran = blast(port, **SHORT, **load)
    assert ran.tally.sent == 0
    assert ran.tally.not_sent == ran.tally.intended > 0
    assert verdicts(ran, **load) == ({"nothing sent"}, 1)


@pytest.mark.parametrize("timeout", [0.1, 0.7])
def test_udp_that_answers_nothing(blast, timeout):
    load = {"transport": "udp", "timeout": timeout}
    with truth.UDP(truth.mute) as server:
        ran = blast(server.port, **{**SHORT, **load})
    assert verdicts(ran, **load) == ({"nothing answered"}, 1)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_udp_answers_from_another_port_are_none(blast, elsewhere):
    load = {"transport": "udp", "flows": 2}
    with truth.UDP(elsewhere=elsewhere) as server:
        ran = blast(server.port, **SHORT, **load)
    assert verdicts(ran, **load) == (({"nothing answered"}, 1) if elsewhere else (set(), 0))


@pytest.mark.parametrize(
    "load",
    [{}, {"window": 4}, {"model": "open", "rate": 500.0}],
    ids=["rows", "streams", "open"],
)
def test_a_server_that_serves_one_connection_of_five(blast, load):
    """The others wait from the warm-up on, and none of the counts of the measured time shows them."""
    with one_at_a_time() as port:
        ran = blast(port, **SHORT, flows=5, **load)
    assert ran.tally.answered > 0
    assert ran.tally.flows_silent == 4
    assert verdicts(ran, flows=5, **load) == ({"connections stuck"}, 1)


@pytest.mark.parametrize("load", [{}, {"window": 2}, {"count": 20}, {"model": "open", "rate": 100.0}])
def test_a_slow_server_is_not_stuck(blast, load):
    """It answers later than the time-out, but it goes on answering."""
    with truth.TCP(truth.delay(0.6)) as server:
        ran = blast(server.port, warmup=0.2, duration=1.5, timeout=0.5, flows=3, **load)
    assert ran.tally.answered > 0
    assert ran.tally.flows_silent == 0


def test_a_socket_without_any_answer(blast):
    """One socket of two: a closed loop loses almost nothing, as this one sends only once in each time-out.

    The other one sends every 20 ms at most, and the run ends with the 40th message and not at a time. So the silent one
    has sent its three, whatever the machine does meanwhile.
    """

    class Picky(truth.UDP):
        def _send(self, answer, peer):
            if peer[1] != min(port for _, port in self.peers):
                super()._send(answer, peer)

    load = {"transport": "udp", "flows": 2, "timeout": 0.05, "count": 40}
    with Picky(truth.delay(0.02)) as server:
        ran = blast(server.port, duration=40.0, **load)
    assert ran.tally.answered > 0
    assert ran.tally.flows_silent == 1
    result = attrs.evolve(a_result(plan=load), tally=ran.tally, processes=())
    assert {"sockets unanswered": "warning"}.items() <= {v.name: v.level for v in judge(result)}.items()
    assert status(attrs.evolve(result, verdicts=judge(result))) == 0, "loss is no failure"

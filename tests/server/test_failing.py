"""What can be served no more: who is told, and how the program ends."""

from __future__ import annotations

import errno
import socket

import pytest
from rigs.helpers import ask, blocking, exchange, needs_linux, port_of, until
from twisted.logger import capturedLogs

from echobench import EchoService
from echobench.server.plugin.program import Program
from echobench.server.plugin.status import ExitStatus

SENTENCE = "the listening socket TCP port {port} on 127.0.0.1 accepts no more connections: it was shut down, perhaps by"


@pytest.fixture
def shared():
    """A listening socket that somebody else holds as well: the server's, and the other one's."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.dup(), sock


@needs_linux
def test_an_embedding_program_is_told_and_goes_on(serve, engine, shared):
    ours, theirs = shared
    service = serve(0, ("127.0.0.1",), tcp=False, inherited=[ours], engine=engine)
    number = theirs.getsockname()[1]
    told = []
    service.when_failed().addCallback(told.append)
    assert blocking(exchange, number, [b"before"]) == b"before"
    with capturedLogs() as logs:
        theirs.shutdown(socket.SHUT_RDWR)
        until(lambda: told)
    (sentence,) = told
    assert [kind for kind, _ in service.addresses()] == ["udp"]
    assert sentence.startswith(SENTENCE.format(port=number))
    assert [event["sentence"] for event in logs if event["log_level"].name == "critical"] == [sentence]
    assert blocking(ask, port_of(service, "udp"), b"what can be served goes on") == b"what can be served goes on"


@needs_linux
def test_a_datagram_socket_that_was_shut_down(serve, udp_engine):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind(("127.0.0.1", 0))
        service = serve(None, inherited=[theirs.dup()], udp_engine=udp_engine)
        told = []
        service.when_failed().addCallback(told.append)
        assert blocking(ask, theirs.getsockname()[1], b"before") == b"before"
        with pytest.raises(OSError, match="not connected"):
            theirs.shutdown(socket.SHUT_RDWR)
        until(lambda: told)
        assert "was shut down, perhaps by another process that holds it" in told[0]


def test_an_engine_without_a_successor_is_told_of(serve):
    service = serve(0, ("127.0.0.1",), udp=False, engine="portable")
    told = []
    service.when_failed().addCallback(told.append)

    class Failed:
        name = "portable"

        def surrender(self):
            return []

    failed = service._engines["tcp"] = Failed()
    service._succession.failed("engine portable has failed: no memory", failed)
    assert told == ["no engine works here: engine portable has failed: no memory"]
    service._engines.clear()


class Stopped:
    """A reactor that is told to stop."""

    def __init__(self):
        self.stops = 0

    def callWhenRunning(self, call):
        call()

    def stop(self):
        self.stops += 1


def test_a_program_stops_once_and_remembers_why():
    program = Program(EchoService(0, ("127.0.0.1",)))
    program.echo.reactor = reactor = Stopped()
    program._fail("the first")
    program._fail("the second")
    assert reactor.stops == 1
    assert program._status.sentence == "the first; the server ends, so that it can be started again"


def test_without_a_sentence_the_status_is_what_it_would_be(monkeypatch):
    monkeypatch.setattr("os._exit", lambda status: pytest.fail("it ended"))
    at_exit = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    ExitStatus().arm()
    (end,) = at_exit
    end()


def test_with_a_sentence_the_status_is_1(monkeypatch, capsys):
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    monkeypatch.setattr("sys.__stderr__", __import__("sys").stderr)
    status = ExitStatus()
    status.sentence = "it was so"
    status._end()
    assert ended == [1]
    assert capsys.readouterr().err == "echobench: it was so\n"


@needs_linux
def test_a_socket_that_cannot_accept_fails_the_start(engine, monkeypatch):
    """As under a seccomp filter: it does not say that it is ready."""
    from echobench import BindError
    from echobench import acceptor as module

    def denied(self, limit):
        self.broken = OSError(errno.EPERM, "Operation not permitted")
        return iter(())

    monkeypatch.setattr(module.Acceptor, "accept", denied)
    service = EchoService(0, ("127.0.0.1",), udp=False, engine=engine)
    with capturedLogs() as logs, pytest.raises(BindError, match="accept fails with EPERM, as under a seccomp filter"):
        service.startService()
    assert not service.running
    assert not [event for event in logs if "ready" in event["log_format"]]

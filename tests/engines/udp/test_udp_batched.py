"""The engine for datagrams in batches: its port in a reactor, and when it can be had."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys

import pytest
import pytest_twisted
from rigs.helpers import ask, blocking, datagram_client, port_of, settle, until
from rigs.udp_rig import Script, received
from twisted.logger import capturedLogs

from echobench import Reason
from echobench.engines import DATAGRAM, EngineError, Setting, choose
from echobench.seldom import Seldom

pytestmark = [
    pytest.mark.usefixtures("nothing_is_remembered"),
    pytest.mark.skipif(sys.platform != "linux", reason="the batched engine needs Linux"),
]

if sys.platform == "linux":
    from echobench.engines.udp import batch as batches
    from echobench.engines.udp import engine as udp_batched
    from echobench.engines.udp import trial as udp_trial
    from echobench.engines.udp import turning
    from echobench.engines.udp.batch import Batch
    from echobench.kernel.messages import Headers


# The port, in a reactor


def batched(service):
    return service._ports[-1][1]


def test_while_the_buffer_is_full_nothing_is_read_and_then_it_goes_on(serve, monkeypatch):
    from twisted.internet import reactor

    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    port = batched(service)
    full = [True]
    real = Headers.send

    def send(headers, descriptor, first, number):
        if full[0]:
            ctypes.set_errno(errno.EAGAIN)
            return -1
        return real(headers, descriptor, first, number)

    monkeypatch.setattr(Headers, "send", send)
    with datagram_client(port_of(service, "udp")) as client:
        client.send(b"1")
        until(lambda: port in reactor.getWriters())
        assert port not in reactor.getReaders()
        client.send(b"2")
        settle(0.01)
        full[0] = False
        assert blocking(received, client, 2) == [b"1", b"2"]
        until(lambda: port not in reactor.getWriters())
        assert port in reactor.getReaders()
    assert service.snapshot().datagrams == 2
    assert not service.snapshot().drops


def test_stopping_with_a_full_buffer_is_counted(serve, monkeypatch):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    port = batched(service)
    Script(monkeypatch, *[-errno.EAGAIN] * 1_000_000)
    with datagram_client(port_of(service, "udp")) as client:
        client.send(b"1")
        client.send(b"2")
        until(lambda: port._unfinished)
        pytest_twisted.blockon(service.stopService())
    seen = service.snapshot()
    assert seen.datagrams == 0
    assert seen.drops[Reason.SEND_BUFFER_FULL] >= 1
    assert seen.drops[Reason.SEND_BUFFER_FULL] + seen.kernel_drops <= 2


def test_one_port_with_a_full_buffer_holds_up_no_other(serve, monkeypatch):
    service = serve(0, ("127.0.0.1", "127.0.0.2"), tcp=False, udp_engine="batched")
    number = port_of(service, "udp")
    stuck = next(port for _, port in service._ports if port.getHost().host == "127.0.0.1")
    real, full = Headers.send, [True]

    def send(headers, descriptor, first, count):
        if full[0] and descriptor == stuck.fileno():
            ctypes.set_errno(errno.EAGAIN)
            return -1
        return real(headers, descriptor, first, count)

    monkeypatch.setattr(Headers, "send", send)
    with datagram_client(number) as client:
        client.send(b"held")
        until(lambda: stuck._unfinished)
        for i in range(3):
            assert blocking(ask, number, b"free %d" % i, "127.0.0.2") == b"free %d" % i
        full[0] = False
        assert blocking(client.recv, 100) == b"held"
        client.send(b"again")
        assert blocking(client.recv, 100) == b"again"


def test_a_flood_leaves_the_reactor_its_turn(serve, monkeypatch):
    from twisted.internet import reactor

    monkeypatch.setattr(udp_batched, "LONGEST_TURN", 0)
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    reactor.callLater(0, int)  # which wants that turn
    with datagram_client(port_of(service, "udp")) as client:
        for _ in range(200):  # in the reactor's own thread: it cannot read meanwhile
            client.send(b"x")
        batched(service).doRead()
        assert service.snapshot().datagrams == batches.MOST_MESSAGES
        batched(service).doRead()
        assert service.snapshot().datagrams == 2 * batches.MOST_MESSAGES
        until(lambda: service.snapshot().datagrams == 200)


def test_closed_with_traffic_in_flight(serve):
    """What is counted as answered has left, and from the stop on the port refuses."""
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    with datagram_client(port_of(service, "udp")) as client:
        client.send(b"x")
        assert blocking(client.recv, 10) == b"x"
        for _ in range(100):  # in the reactor's own thread, so most are still unread when it stops
            client.send(b"x")
        pytest_twisted.blockon(service.stopService())
        answered = service.snapshot().datagrams - 1
        client.setblocking(False)
        assert received(client, answered) == [b"x"] * answered
        with pytest.raises(BlockingIOError):
            client.recv(10)
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.send(b"x")
    assert service.snapshot().datagrams == answered + 1


def test_a_batch_that_cannot_be_handled_does_not_end_the_service(serve, monkeypatch, logged_errors):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_learn", lambda *args: 1 / 0)
        with datagram_client(port_of(service, "udp")) as client:
            client.send(b"x")
            until(lambda: logged_errors)
    assert "a batch of datagrams could not be handled" in logged_errors.pop()["log_format"]
    assert blocking(ask, port_of(service, "udp"), b"still there") == b"still there"


def test_a_fault_in_every_batch_is_logged_once_a_minute(serve, monkeypatch, logged_errors):
    now = [0.0]
    monkeypatch.setattr(udp_batched, "Seldom", lambda: Seldom(lambda: now[0]))
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    faults = []
    monkeypatch.setattr(Batch, "_learn", lambda *args: faults.append(1) or 1 / 0)
    with datagram_client(port_of(service, "udp")) as client:
        for i in range(10):
            client.send(b"x")
            until(lambda: len(faults) > i)
        assert len(logged_errors) == 1
        logged_errors.clear()
        now[0] = 60.0
        client.send(b"x")
        until(lambda: logged_errors)
    event = logged_errors.pop()
    assert event["log_format"].format(**event) == (
        "a batch of datagrams could not be handled (and 9 times more since this was last logged)"
    )


def test_an_inherited_socket_is_put_in_order(serve):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: an error of one client's would disturb others
    sock.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL: control data that nobody asked for, as long as UDP_GRO
    sock.bind(("127.0.0.1", 0))
    service = serve(None, inherited=[sock], udp_engine="batched")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 0
    assert sock.getsockopt(socket.IPPROTO_IP, 11) == 0
    assert blocking(ask, sock.getsockname()[1], b"hello") == b"hello"
    assert not service.snapshot().drops


# The choice


def setting():
    from twisted.internet import reactor

    return Setting(reactor)


def test_auto_takes_it():
    with capturedLogs() as logs:
        assert choose(DATAGRAM, "auto", setting()).name == "batched"
    assert [event["log_format"].format(**event) for event in logs] == ["engine for datagrams: batched"]


def test_where_it_does_not_work_auto_says_why_and_takes_another(monkeypatch):
    monkeypatch.setattr(udp_batched, "trial", lambda: "a trial over loopback failed: [Errno 1] recvmmsg: forbidden")
    with capturedLogs() as logs:
        assert choose(DATAGRAM, "auto", setting()).name == "portable"
    (line,) = [event["log_format"].format(**event) for event in logs]
    assert line == (
        "engine for datagrams: portable "
        "(batched is not available: a trial over loopback failed: [Errno 1] recvmmsg: forbidden)"
    )


def test_a_python_without_the_modules_that_it_needs_does_without_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "echobench.engines.udp.engine")
    monkeypatch.setitem(sys.modules, "echobench.engines.udp.batch", None)
    with capturedLogs() as logs:
        assert choose(DATAGRAM, "auto", setting()).name == "portable"
    assert "batched is not available: import of echobench.engines.udp.batch" in logs[0]["log_format"].format(**logs[0])


def test_asked_for_by_name_it_is_an_error(monkeypatch):
    monkeypatch.setattr("echobench.kernel.missing", lambda: "it needs Linux, and this is plan9")
    with pytest.raises(EngineError, match="engine batched is not available: it needs Linux, and this is plan9"):
        choose(DATAGRAM, "batched", setting())


def test_a_reactor_that_watches_no_descriptors_cannot_have_it():
    assert "cannot watch" in udp_batched.BatchedDatagram.unavailable(object())


@pytest.fixture
def untried():
    udp_trial.trial.cache_clear()
    udp_trial.joins.cache_clear()
    yield
    udp_trial.trial.cache_clear()
    udp_trial.joins.cache_clear()


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_a_sandbox_that_forbids_it_is_found_out(untried, monkeypatch, code):
    def forbidden(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Headers, "receive", forbidden)
    assert os.strerror(code) in udp_trial.trial()
    assert not udp_trial.joins()


def test_a_machine_that_is_not_known_is_found_out(untried, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert "the number of the system call recvmmsg is not known for vax machines" in udp_trial.trial()


@pytest.mark.parametrize(
    "harm",
    [
        lambda messages: messages.outgoing.size.__setitem__(2, 5),  # lengths elsewhere
        lambda messages: messages.outgoing.base.__setitem__(3, messages.outgoing.base[0] + 1),  # other bytes
        lambda messages: messages.outgoing.name.__setitem__(0, messages.outgoing.name[5]),  # another peer
        lambda messages: messages.outgoing.iovlen.__setitem__(1, 0),
    ],
)
def test_a_kernel_with_other_layouts_is_found_out(untried, monkeypatch, harm):
    monkeypatch.setattr(udp_trial, "PATIENCE", 0.1)
    real = Batch._learn

    def learn(batch, number, headers, controls):
        real(batch, number, headers, controls)
        harm(batch.messages)

    monkeypatch.setattr(Batch, "_learn", learn)
    assert udp_trial.trial().startswith("a trial over loopback failed: ")


def test_answers_from_the_wrong_address_are_found_out(untried, monkeypatch):
    """Over 127.0.0.1 they come from the right one by chance; so another is asked too."""
    monkeypatch.setattr(udp_trial, "PATIENCE", 0.1)
    monkeypatch.setattr(turning, "answering", lambda control: ())
    assert "nothing came back from 127." in udp_trial.trial()


def test_without_trains_it_works_all_the_same(untried, serve, monkeypatch):
    monkeypatch.setattr(udp_trial, "UDP_GRO", 9999)
    assert not udp_trial.joins()
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")

    def client():
        with datagram_client(port_of(service, "udp")) as sock:
            for i in range(20):
                sock.send(b"%02d" % i)
            return received(sock, 20)

    assert blocking(client) == [b"%02d" % i for i in range(20)]


# An engine whose calls fail


@pytest.fixture
def impatient(monkeypatch):
    """Have faults stay after a moment."""
    monkeypatch.setattr("echobench.engines.faults.PATIENCE", 0.05)


def refuse(monkeypatch, times):
    """Have receiving fail some times, with what a filter would give; return a list that says how often it has."""
    real, failed = Headers.receive, []

    def receive(headers, descriptor, most, first=0):
        if len(failed) < times:
            failed.append(1)
            raise OSError(errno.EPERM, "Operation not permitted")
        return real(headers, descriptor, most, first)

    monkeypatch.setattr(Headers, "receive", receive)
    return failed


def test_a_call_that_fails_for_a_while_is_made_again_after_pauses(serve, monkeypatch):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    failed = refuse(monkeypatch, 5)
    assert blocking(ask, port_of(service, "udp"), b"patience") == b"patience"
    assert len(failed) == 5
    assert service.engines() == {"udp": "batched"}


def test_a_call_that_goes_on_failing_moves_all_ports_to_the_portable_engine(serve, monkeypatch, impatient):
    service = serve(0, ("127.0.0.1", "127.0.0.2"), tcp=False, udp_engine="batched")
    before = service.addresses()
    failed = refuse(monkeypatch, 1 << 30)
    with capturedLogs() as logs:
        assert blocking(ask, port_of(service, "udp"), b"who waits") == b"who waits"
    assert service.engines() == {"udp": "portable"}
    assert service.addresses() == before
    assert blocking(ask, port_of(service, "udp"), b"the other", "127.0.0.2") == b"the other"
    assert len(failed) < 100, "there were pauses"
    (why,) = [event["why"] for event in logs if event.get("what") == "datagrams"]
    assert why.startswith(" (engine batched has failed: UDP port ")
    assert why.endswith("receives no more datagrams: [Errno 1] Operation not permitted)")


def test_a_stop_ends_a_pause(serve, monkeypatch):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    refuse(monkeypatch, 1 << 30)
    with datagram_client(port_of(service, "udp")) as client:
        client.send(b"1")
        until(lambda: batched(service)._pause is not None)
        pytest_twisted.blockon(service.stopService())


def test_a_batch_that_is_finished_after_a_stop_has_no_socket_watched_again(serve):
    """Its timer and the closing of the socket may come in one turn of the reactor."""
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    port = batched(service)
    stopping = service.stopService()
    port.doWrite()
    assert port not in port._reactor.getReaders()
    pytest_twisted.blockon(stopping)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_has_no_copy_of_a_socket_that_another_engine_serves_now(serve, monkeypatch, impatient):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    refuse(monkeypatch, 1 << 30)
    assert blocking(ask, port_of(service, "udp"), b"!") == b"!"
    assert service.engines() == {"udp": "portable"}
    descriptor = service._ports[0][1].fileno()
    pid = os.fork()
    if not pid:
        try:
            os.fstat(descriptor)
        except OSError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert blocking(ask, port_of(service, "udp"), b"!") == b"!"

"""EchoService inside other programs."""

from __future__ import annotations

import os
import socket
import sys

import pytest
import pytest_twisted
from helpers import ask, blocking, dial, exchange, port_of, until
from twisted.application.service import Application, IService, IServiceCollection, MultiService
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface import implementer
from zope.interface.verify import verifyObject

from echobench import BindError, EchoService, Reason
from echobench.engines import EngineError

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets, and hands none on")


def test_it_is_a_service():
    assert verifyObject(IService, EchoService())


def test_in_a_multi_service(serve):
    parent = MultiService()
    service = EchoService(0, ("127.0.0.1",))
    service.setServiceParent(parent)
    parent.privilegedStartService()
    parent.startService()
    assert blocking(exchange, port_of(service), [b"child"]) == b"child"
    pytest_twisted.blockon(parent.stopService())
    with pytest.raises(ConnectionRefusedError):
        blocking(dial, service.port or 1)


def test_in_an_application():
    application = Application("echo")
    service = EchoService(0, ("127.0.0.1",))
    service.setServiceParent(application)
    collection = IServiceCollection(application)
    IService(application).startService()
    assert blocking(ask, port_of(service, "udp"), b"app") == b"app"
    pytest_twisted.blockon(collection.stopService())


def test_binds_before_privilege_is_given_up_and_serves_after():
    service = EchoService(0, ("127.0.0.1",))
    service.privilegedStartService()
    (tcp, udp) = (sock for _, sock in service._sockets)
    assert tcp.getsockname()[1] == udp.getsockname()[1] != 0
    assert service.addresses() == []
    number = tcp.getsockname()[1]
    service.startService()
    assert port_of(service) == number
    pytest_twisted.blockon(service.stopService())


def test_it_can_be_started_again():
    service = EchoService(0, ("127.0.0.1",))
    for _ in range(2):
        service.startService()
        assert blocking(exchange, port_of(service), [b"again"]) == b"again"
        pytest_twisted.blockon(service.stopService())


def test_engines_addresses_and_counters_can_be_asked_for(serve):
    service = serve(0, ("127.0.0.1",))
    assert service.engines() == {"tcp": "portable", "udp": "portable"}
    kinds = [kind for kind, _ in service.addresses()]
    assert kinds == ["tcp", "udp"]
    number = port_of(service)
    assert service.where() == f"port={number} tcp=127.0.0.1:{number} udp=127.0.0.1:{number}"
    before = service.snapshot()
    blocking(exchange, number, [b"12345"])
    blocking(ask, number, b"123")
    until(lambda: service.snapshot().open_connections == 0)
    new = service.snapshot() - before
    assert (new.connections, new.reads, new.stream_bytes, new.datagrams, new.datagram_bytes) == (1, 1, 5, 1, 3)
    assert new.kernel_drops == 0


def test_the_ready_line(serve):
    with capturedLogs() as logs:
        service = serve()
    (ready,) = [event for event in logs if event["log_format"].startswith("echobench ready")]
    assert ready["where"] == service.where()


def test_the_choice_of_engines_is_logged(serve):
    with capturedLogs() as logs:
        serve(0, ("127.0.0.1",))
    lines = [event["log_format"].format(**event) for event in logs if event["log_format"].startswith("engine for")]
    assert lines == ["engine for streams: portable", "engine for datagrams: portable"]


def test_one_transport_alone(serve):
    assert serve(0, ("127.0.0.1",), tcp=False).engines() == {"udp": "portable"}
    assert serve(0, ("127.0.0.1",), udp=False).engines() == {"tcp": "portable"}


@needs_posix
def test_a_unix_endpoint(serve, tmp_path):
    from twisted.internet import reactor

    path = tmp_path / "echo.sock"
    service = serve(None, endpoints=[serverFromString(reactor, f"unix:{path}")])
    assert service.engines() == {"endpoint": "portable"}
    assert service.where() == f"endpoint={path}"

    def client():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"by path")
            sock.shutdown(socket.SHUT_WR)
            got = bytearray()
            while data := sock.recv(1 << 16):
                got += data
            return bytes(got)

    assert blocking(client) == b"by path"
    until(lambda: service.snapshot().open_connections == 0)


@needs_posix
def test_half_close_over_a_unix_socket(serve, tmp_path):
    """More than any buffer holds, all sent before anything is read."""
    from helpers import pattern, read_to_end
    from twisted.internet import reactor

    path = tmp_path / "echo.sock"
    serve(None, endpoints=[serverFromString(reactor, f"unix:{path}")])
    data = pattern(8 << 20)

    def client():
        import threading

        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            got = []
            reader = threading.Thread(target=lambda: got.append(read_to_end(sock)))
            reader.start()
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            reader.join()
            return got[0]

    assert blocking(client) == data


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Listens when it is told to, or never."""

    def __init__(self, result):
        self.result = result

    def listen(self, factory):
        return self.result


@implementer(IListeningPort)
class Port:
    stopped = False

    def startListening(self):
        pass

    def getHost(self):
        return UNIXAddress(b"/late")

    def stopListening(self):
        self.stopped = True


def test_an_endpoint_that_takes_its_time(serve):
    later: Deferred[IListeningPort] = Deferred()
    service = serve(None, endpoints=[Endpoint(later)])
    assert service.addresses() == []
    port = Port()
    later.callback(port)
    assert service.addresses() == [("endpoint", UNIXAddress(b"/late"))]
    pytest_twisted.blockon(service.stopService())
    assert port.stopped


def test_an_endpoint_that_fails_at_once_fails_the_start():
    service = EchoService(None, endpoints=[Endpoint(fail(CannotListenError("here", 1, OSError("taken"))))])
    with pytest.raises(BindError, match="taken"):
        service.startService()
    assert not service.running


def test_an_endpoint_that_fails_later_is_logged(serve):
    later: Deferred[IListeningPort] = Deferred()
    service = serve(None, endpoints=[Endpoint(later)])
    with capturedLogs() as logs:
        later.errback(CannotListenError("here", 1, OSError("taken")))
    assert logs[0]["log_level"].name == "critical"
    assert service.addresses() == []


def test_an_endpoint_that_never_answers_is_given_up_at_the_stop(serve):
    given_up = []
    later: Deferred[IListeningPort] = Deferred(given_up.append)
    service = serve(None, endpoints=[Endpoint(later)])
    pytest_twisted.blockon(service.stopService())
    assert given_up == [later]


@needs_posix
@pytest.mark.parametrize("name", ["AF_INET", "AF_INET6", "AF_UNIX"])
def test_an_inherited_listener(serve, tmp_path, name):
    family = getattr(socket, name)
    listener = socket.socket(family)
    path = str(tmp_path / "s")
    listener.bind({socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0), socket.AF_UNIX: path}[family])
    listener.listen()
    address = listener.getsockname()
    service = serve(None, inherited=[listener])

    def client():
        with socket.socket(family) as sock:
            sock.connect(address)
            sock.sendall(b"inherited")
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(100)

    assert blocking(client) == b"inherited"
    until(lambda: service.snapshot().open_connections == 0)


def test_an_inherited_datagram_socket(serve):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    number = sock.getsockname()[1]
    serve(None, inherited=[sock])
    assert blocking(ask, number, b"inherited") == b"inherited"


def test_an_inherited_datagram_socket_gets_the_receive_buffer_that_was_asked_for(serve):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    usual = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    serve(None, inherited=[sock], receive_buffer=8192)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < usual


def test_an_address_given_twice_is_one(serve):
    assert len(serve(0, ("127.0.0.1", "127.0.0.1")).addresses()) == 2


@needs_posix
def test_inherited_sockets_that_cannot_be_served():
    with socket.socket() as silent, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
        for sock in (silent, local):
            with pytest.raises(BindError, match=f"inherited descriptor {sock.fileno()}: a listening stream socket or"):
                EchoService(None, inherited=[sock]).startService()


def test_tls_needs_options():
    with pytest.raises(ValueError, match="tls_options"):
        EchoService(0, tls_port=0)


@pytest.mark.parametrize("options", [{"engine": "warp"}, {"udp_engine": "warp"}])
def test_an_engine_that_is_not_there(options):
    service = EchoService(0, ("127.0.0.1",), **options)
    with pytest.raises(EngineError, match="no engine 'warp' here: choose auto or portable"):
        service.startService()
    assert not service.running
    assert service.addresses() == []


def test_a_start_that_fails_leaves_nothing_bound():
    service = EchoService(0, ("127.0.0.1",), udp_engine="warp")
    service.privilegedStartService()
    number = service._sockets[0][1].getsockname()[1]
    with pytest.raises(EngineError):
        service.startService()
    with socket.socket() as free:
        free.bind(("127.0.0.1", number))


def test_an_injected_reactor_is_the_clock():
    """Nothing asks the global reactor: here time goes as the test says."""
    from twisted.internet import reactor

    class Injected(Clock):
        """The real reactor's descriptors, and a clock of the test's."""

        def __getattr__(self, name):
            return getattr(reactor, name)

    clock = Injected()
    service = EchoService(0, ("127.0.0.1",), udp=False, idle_timeout=1000, reactor=clock)
    service.startService()
    sock = blocking(dial, port_of(service))
    until(lambda: service.snapshot().open_connections)
    assert [call.getTime() for call in clock.getDelayedCalls()] == [1000]
    clock.advance(1000)
    clock.advance(0)
    until(lambda: clock.advance(0) or not service.snapshot().open_connections)
    assert service.snapshot().drops == {Reason.IDLE: 1}
    sock.close()
    stopping = service.stopService()
    clock.advance(0)
    clock.advance(0)
    pytest_twisted.blockon(stopping)


def test_a_second_service_on_the_port_is_refused(serve):
    first = serve(0, ("127.0.0.1",))
    with pytest.raises(BindError, match="in use"):
        serve(port_of(first), ("127.0.0.1",))
    with pytest.raises(BindError, match="in use"):
        serve(port_of(first))


def test_tls_that_cannot_be_bound_leaves_nothing_bound(serve):
    first = serve(0, ("127.0.0.1",), udp=False)
    second = EchoService(0, ("127.0.0.1",), tls_port=port_of(first), tls_options=object())
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    with pytest.raises(BindError, match=f"TLS port {port_of(first)} on 127.0.0.1 is in use"):
        second.startService()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_start_that_fails_takes_back_what_was_on_its_way():
    later: Deferred[IListeningPort] = Deferred()
    service = EchoService(
        None, endpoints=[Endpoint(later), Endpoint(fail(CannotListenError("b", 1, OSError("taken"))))]
    )
    with pytest.raises(BindError, match="taken"):
        service.startService()
    assert service.addresses() == []
    assert later.called, "given up"


def test_an_endpoint_that_comes_too_late_is_closed(serve):
    class Stubborn(Deferred):  # type: ignore[type-arg]
        def cancel(self):
            pass

    later = Stubborn()
    service = serve(None, endpoints=[Endpoint(later)])
    with capturedLogs() as logs:
        pytest_twisted.blockon(service.stopService())
        port = Port()
        later.callback(port)
    assert port.stopped
    assert service.addresses() == []
    assert [event for event in logs if event["log_level"].name == "critical"] == []


def test_a_start_that_fails_closes_what_was_served_already(monkeypatch):
    service = EchoService(0, ("127.0.0.1",))
    service.privilegedStartService()
    number = service._sockets[0][1].getsockname()[1]
    monkeypatch.setattr("echobench.engines.portable.PortableDatagram.listen", lambda self, sock: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        service.startService()
    monkeypatch.undo()
    until(lambda: can_bind(number))


def can_bind(number):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def test_stopping_what_was_only_bound_gives_it_back():
    service = EchoService(0, ("127.0.0.1",))
    service.privilegedStartService()
    number = service._sockets[0][1].getsockname()[1]
    pytest_twisted.blockon(service.stopService())
    assert can_bind(number)


def test_starting_twice_serves_once(serve):
    service = serve(0, ("127.0.0.1",))
    before = service.addresses()
    service.startService()
    assert service.addresses() == before


def test_a_start_right_after_a_stop_is_not_undone_by_it(serve):
    service = serve(0, ("127.0.0.1",))
    stopping = service.stopService()
    service.startService()
    pytest_twisted.blockon(stopping)
    assert blocking(exchange, port_of(service), [b"again"]) == b"again"


def test_inherited_sockets_serve_but_once():
    listener = socket.create_server(("127.0.0.1", 0))
    service = EchoService(None, inherited=[listener])
    service.startService()
    pytest_twisted.blockon(service.stopService())
    with pytest.raises(BindError, match="cannot be started again"):
        service.startService()


def test_a_port_that_cannot_be_closed_does_not_keep_the_rest_from_it(serve, logged_errors):
    class Broken(Port):
        def stopListening(self):
            raise RuntimeError("stuck in the door")

    later: Deferred[IListeningPort] = Deferred()
    service = serve(0, ("127.0.0.1",), endpoints=[Endpoint(later)])
    later.callback(Broken())
    number = port_of(service)
    pytest_twisted.blockon(service.stopService())
    assert can_bind(number)
    assert "stuck in the door" in str(logged_errors.pop())


def test_the_deadline_of_a_stop_is_the_services_own(serve, monkeypatch):
    """Also for connections that have no deadline themselves."""
    service = serve(0, ("127.0.0.1",), close_timeout=0.3)
    sock = blocking(dial, port_of(service))
    until(lambda: service.snapshot().open_connections)
    service._engines["tcp"].factory.close_timeout = None
    pytest_twisted.blockon(service.stopService())
    assert service.snapshot().open_connections == 0
    sock.close()

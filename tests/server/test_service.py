"""EchoService inside other programs."""

from __future__ import annotations

import socket
import sys

import pytest
import pytest_twisted
from rigs.fakes import Endpoint, Port
from rigs.helpers import ask, blocking, dial, exchange, port_of, until
from twisted.application.service import Application, IService, IServiceCollection, MultiService
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from echobench import BindError, EchoService, Reason
from echobench.engines import DATAGRAM, STREAM, EngineError, Setting, choose

needs_posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no Unix sockets, and hands no socket to another process"
)


def best(kind):
    """The engine that auto takes here."""
    from twisted.internet import reactor

    return choose(kind, "auto", Setting(reactor)).name


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


def test_engines_addresses_and_counters_can_be_asked_for(serve):
    service = serve(0, ("127.0.0.1",))
    assert service.engines() == {"tcp": best(STREAM), "udp": best(DATAGRAM)}
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
    assert [line.partition(" (")[0] for line in lines] == [
        f"engine for streams: {best(STREAM)}",
        f"engine for datagrams: {best(DATAGRAM)}",
    ]


def test_one_transport_alone(serve):
    assert serve(0, ("127.0.0.1",), tcp=False).engines() == {"udp": best(DATAGRAM)}
    assert serve(0, ("127.0.0.1",), udp=False).engines() == {"tcp": best(STREAM)}


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
    from rigs.helpers import pattern, read_to_end
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
            with pytest.raises(
                BindError, match=f"inherited descriptor {sock.fileno()}: a listening TCP or Unix socket or"
            ):
                EchoService(None, inherited=[sock]).startService()


def test_tls_needs_options():
    with pytest.raises(ValueError, match="tls_options"):
        EchoService(0, tls_port=0)


@pytest.mark.parametrize("options", [{"engine": "warp"}, {"udp_engine": "warp"}])
def test_an_engine_that_is_not_there(options):
    service = EchoService(0, ("127.0.0.1",), **options)
    with pytest.raises(EngineError, match=r"no engine 'warp' here: choose auto or .*portable"):
        service.startService()
    assert not service.running
    assert service.addresses() == []


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
    assert clock.getDelayedCalls()
    assert service.snapshot().drops == {}
    clock.pump([250] * 5)  # at the latest after a quarter more than the time-out
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

"""EchoService started and stopped: in order, out of order, half-way, and again."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest
import pytest_twisted
from rigs.fakes import Endpoint, Port
from rigs.helpers import blocking, can_bind, dial, exchange, port_of, until
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import capturedLogs

from echobench import BindError, EchoService
from echobench.engines import EngineError


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


def test_tls_that_cannot_be_bound_leaves_nothing_bound(serve):
    first = serve(0, ("127.0.0.1",), udp=False)
    second = EchoService(0, ("127.0.0.1",), tls_port=port_of(first), tls_options=SimpleNamespace(getContext=None))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    with pytest.raises(BindError, match=f"TLS port {port_of(first)} on 127.0.0.1 is in use"):
        second.startService()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_start_that_fails_leaves_nothing_bound():
    service = EchoService(0, ("127.0.0.1",), udp_engine="warp")
    service.privilegedStartService()
    number = service._sockets[0][1].getsockname()[1]
    with pytest.raises(EngineError):
        service.startService()
    with socket.socket() as free:
        free.bind(("127.0.0.1", number))


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
    service = EchoService(0, ("127.0.0.1",), udp_engine="portable")
    service.privilegedStartService()
    number = service._sockets[0][1].getsockname()[1]
    monkeypatch.setattr("echobench.engines.portable.engine.PortableDatagram.listen", lambda self, sock: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        service.startService()
    monkeypatch.undo()
    until(lambda: can_bind(number))


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
    service = serve(0, ("127.0.0.1",), close_timeout=0.3, engine="portable")
    sock = blocking(dial, port_of(service))
    until(lambda: service.snapshot().open_connections)
    service._engines["tcp"].factory.close_timeout = None
    pytest_twisted.blockon(service.stopService())
    assert service.snapshot().open_connections == 0
    sock.close()

"""TLS handshakes that fail: counted by reason, and logged once a minute for each."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

import pytest
import pytest_twisted
from OpenSSL import SSL
from rigs.helpers import blocking, dial, port_of, read_to_end, reset, settle, until
from rigs.tls_rig import wrap
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import capturedLogs

from echobench import Reason
from echobench.engines.portable.handshakes import reason_of
from echobench.server.stats import line


def say(data):
    """Send something that is no handshake, and wait for the end."""

    def client(port):
        with dial(port) as sock, contextlib.suppress(ConnectionResetError):
            sock.sendall(data)
            read_to_end(sock)

    return client


def shake(change):
    """Shake hands with a context that was changed so that it fails."""

    def client(port):
        context = ssl.create_default_context()
        change(context)
        with dial(port) as sock, pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(sock, server_hostname="echo.example").recv(1)

    return client


def only_unknown_ciphers(context):
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")  # the server's key is no RSA key


def go_away(port):
    dial(port).close()


def reset_at_once(port):
    with dial(port) as sock:
        sock.sendall(b"\x16\x03\x01")
        reset(sock)


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (say(b"GET / HTTP/1.0\r\n\r\n"), Reason.TLS_NOT_SPOKEN),
        (say(bytes(1000)), Reason.TLS_NOT_SPOKEN),
        (shake(lambda context: None), Reason.TLS_REFUSED_BY_PEER),
        (shake(only_unknown_ciphers), Reason.TLS_NOTHING_IN_COMMON),
        (go_away, Reason.TLS_CUT_SHORT),
        (reset_at_once, Reason.TLS_CUT_SHORT),
    ],
    ids=["http", "zeros", "distrust", "ciphers", "gone", "reset"],
)
def test_a_handshake_that_fails_is_counted_by_its_reason(serve_tls, client, reason):
    service = serve_tls()
    with capturedLogs() as logs:
        for _ in range(3):
            blocking(client, port_of(service, "tls"))
        until(lambda: sum(service.snapshot().drops.values()) == 3)
    assert service.snapshot().drops == {reason: 3}
    assert service.snapshot().open_connections == 0
    (said,) = [each for each in logs if "handshake" in (each.get("log_format") or "")]
    assert (said["why"], said["host"]) == (reason.value, "127.0.0.1")
    assert f"drops={reason.value}:3" in line(service.snapshot(), service.snapshot() - service.snapshot(), 1.0)


def test_one_that_we_end_is_none(serve_tls):
    """Neither as idle, which is counted as that, nor because the service stops."""
    service = serve_tls(idle_timeout=0.2)
    sock = blocking(dial, port_of(service, "tls"))
    until(lambda: service.snapshot().drops == {Reason.IDLE: 1})
    sock.close()
    service.idle_timeout = None
    other = serve_tls()
    with blocking(dial, port_of(other, "tls")):
        until(lambda: other.snapshot().open_connections == 1)
        pytest_twisted.blockon(other.stopService())
    assert other.snapshot().drops == {}


def test_one_that_succeeds_is_none(serve_tls, certified):
    service = serve_tls()

    def client():
        sock = wrap(dial(port_of(service, "tls")), certified)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    blocking(client)
    until(lambda: service.snapshot().open_connections == 0)
    settle()
    assert service.snapshot().drops == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionDone(), Reason.TLS_CUT_SHORT),
        (ConnectionLost(), Reason.TLS_CUT_SHORT),
        (SSL.Error([("SSL routines", "", "http request")]), Reason.TLS_NOT_SPOKEN),
        (SSL.Error([("SSL routines", "", "tlsv1 alert unknown ca")]), Reason.TLS_REFUSED_BY_PEER),
        (SSL.Error([("SSL routines", "", "unsupported protocol")]), Reason.TLS_NOTHING_IN_COMMON),
        (SSL.Error([("SSL routines", "", "no shared cipher")]), Reason.TLS_NOTHING_IN_COMMON),
        (SSL.Error([("SSL routines", "", "something new")]), Reason.TLS_FAILED),
        (SSL.Error([]), Reason.TLS_FAILED),
        (SSL.Error(), Reason.TLS_FAILED),
        (SSL.SysCallError(-1, "Unexpected EOF"), Reason.TLS_CUT_SHORT),
        (ValueError("what"), Reason.TLS_FAILED),
    ],
    ids=repr,
)
def test_reasons(error, reason):
    why, said = reason_of(error)
    assert why is reason
    assert isinstance(said, str)

"""Clients that offer protocols (ALPN): served, with one of them only where somebody has it."""

from __future__ import annotations

import ssl

import pytest
from rigs import certificates
from rigs.helpers import blocking, dial, port_of, until
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface import implementer

from echobench import EchoFactory
from echobench.engines.portable.alpn import answer_alpn
from echobench.engines.portable.tls import EchoTLSFactory
from echobench.server.certificate import load_certificate


@pytest.fixture
def pair(tmp_path):
    return certificates.make(tmp_path)


@pytest.fixture
def options(pair):
    return load_certificate(str(pair.certificate), str(pair.key))


def client(port, pair, offers):
    """Shake hands, pass a byte through, and return what was chosen."""
    context = ssl.create_default_context(cafile=str(pair.certificate))
    if offers:
        context.set_alpn_protocols(offers)
    with context.wrap_socket(dial(port), server_hostname="echo.example") as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        return sock.selected_alpn_protocol()


@pytest.mark.parametrize("offers", [[], ["h2", "http/1.1"], ["echo"]], ids=str)
def test_a_client_that_offers_protocols_is_answered_as_by_a_server_that_knows_none(serve, pair, options, offers):
    service = serve(None, ("127.0.0.1",), tls_port=0, tls_options=options)
    assert blocking(client, port_of(service, "tls"), pair, offers) is None
    until(lambda: service.snapshot().open_connections == 0)


def test_after_a_stop_the_same_options_serve_again(serve, pair, options):
    for _ in range(2):
        service = serve(None, ("127.0.0.1",), tls_port=0, tls_options=options)
        assert blocking(client, port_of(service, "tls"), pair, ["h2"]) is None


@implementer(IProtocolNegotiationFactory)
class Negotiating(EchoFactory):
    """Another server with the same options, which has protocols to choose from."""

    def acceptableProtocols(self):
        return [b"echo", b"h2"]


@pytest.mark.parametrize(
    ("static", "offers", "chosen"),
    [
        ([], ["h2", "http/1.1"], b"h2"),
        ([], ["h2", "echo"], b"echo"),
        ([b"http/1.1"], ["http/1.1"], b"http/1.1"),
    ],
)
def test_who_shares_the_options_still_chooses(options, static, offers, chosen):
    options._acceptableProtocols = static
    assert shake_hands(EchoTLSFactory(options, Negotiating(reactor=Clock()), Clock()), offers) == chosen


def shake_hands(factory, offers):
    """Shake hands in memory, and return what the server chose."""
    from rigs.fakes import Transport

    protocol, transport = factory.buildProtocol(None), Transport()
    transport.disconnecting = False
    protocol.makeConnection(transport)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(offers)
    tls, seen = context.wrap_bio(incoming, outgoing), 0
    for _ in range(5):
        try:
            tls.do_handshake()
            protocol.dataReceived(outgoing.read())
            break
        except ssl.SSLWantReadError:
            protocol.dataReceived(outgoing.read())
            incoming.write(transport.value()[seen:])
            seen = len(transport.value())
    try:
        return protocol.negotiatedProtocol
    finally:
        protocol.abortConnection()
        protocol.connectionLost(None)


def test_options_that_were_used_before_are_warned_of(options):
    from OpenSSL import SSL

    SSL.Connection(options.getContext(), None)
    with capturedLogs() as logs:
        answer_alpn(options)
    if logs:  # pyOpenSSL before 25.1 lets a context be changed
        assert "the tls_options were used before" in logs[0]["log_format"]


def test_what_is_no_context_is_left_alone():
    answer_alpn(object())

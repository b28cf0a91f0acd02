"""Twisted's private attributes: where another version has them not, a fallback serves."""

from __future__ import annotations

import ast
import gc
import re

import pytest
from rigs.helpers import blocking, dial, exchange, port_of
from rigs.places import ROOT
from rigs.tls_rig import wrap
from twisted.internet import tcp
from twisted.protocols.tls import TLSMemoryBIOProtocol

from echobench.engines.portable import transport
from echobench.engines.portable.engine import PortableStream
from echobench.engines.portable.stream import StreamPort, can_adopt
from echobench.engines.portable.tls import EchoTLSTransport
from echobench.engines.portable.transport import PRIVATE, PromptTransport, best_transport, missing


def test_this_twisted_has_them():
    assert missing(tcp.Server) == []
    assert StreamPort.transport is PromptTransport
    assert can_adopt()


@pytest.mark.parametrize("name", PRIVATE)
def test_a_transport_without_one_is_used_as_it_is(serve, monkeypatch, name):
    class Other(tcp.Server):
        """Of a Twisted that calls this something else."""

    monkeypatch.setattr(transport.abstract.FileDescriptor, "__init__", without(name), raising=True)
    if hasattr(tcp.Server, name):
        Other.__getattribute__ = hiding(name)  # type: ignore[method-assign]
    assert missing(Other) == [name]
    assert best_transport(Other) is Other


def without(name):
    """FileDescriptor's constructor, but it does not set one attribute."""
    real = transport.abstract.FileDescriptor.__init__

    def construct(self, reactor=None):
        real(self, reactor)
        self.__dict__.pop(name, None)

    return construct


def hiding(name):
    def get(self, asked):
        if asked == name:
            raise AttributeError(name)
        return object.__getattribute__(self, asked)

    return get


def test_twisteds_own_transport_serves(serve, monkeypatch):
    monkeypatch.setattr(StreamPort, "transport", tcp.Server)
    assert blocking(exchange, port_of(serve(engine="portable", idle_timeout=20)), [b"all the same"]) == b"all the same"


def test_a_port_without_the_constructor_is_replaced_by_twisteds_own(serve, monkeypatch):
    class Other:
        """A port of a Twisted that cannot be made from a descriptor this way."""

    assert not can_adopt(Other)
    monkeypatch.setattr(PortableStream, "port", Other)
    service = serve(0, ("127.0.0.1",), engine="portable")
    ((_, port),) = [pair for pair in service._ports if pair[0] == "tcp"]
    assert type(port) is tcp.Port
    assert blocking(exchange, port_of(service), [b"all the same"]) == b"all the same"


def test_this_twisted_has_what_the_handshakes_are_looked_at_by():
    """Without them none is counted (handshakes.py), and none is told from an end of file (tls.py)."""
    for name in ("_handshakeDone", "_aborted", "_reason"):
        assert hasattr(TLSMemoryBIOProtocol, name)


def test_this_twisted_has_what_the_fewer_calls_over_tls_need(serve_tls, certified):
    """Else each connection takes Twisted's own way (tests/server/test_tls.py has one that does)."""
    port = port_of(serve_tls(), "tls")

    def client():
        with wrap(dial(port), certified) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            return [each._bulk is not None for each in gc.get_objects() if type(each) is EchoTLSTransport]

    assert True in blocking(client)


def test_no_other_file_knows_them():
    """They are gathered here, but for the stand-in's; what our own classes call private is another matter."""
    names = {*PRIVATE, "_fromListeningDescriptor", "_buildAddr", "_addressType", "_preexistingSocket"}
    private = re.compile("|".join(sorted(names)))
    for path in (ROOT / "echobench").rglob("*.py"):
        if path.parent.name != "portable" or "engines" not in path.parts:
            assert not private.search(path.read_text()), path


def test_nothing_private_of_twisteds_is_imported():
    for path in (ROOT / "echobench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twisted"):
                parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not [each for each in parts if each.startswith("_")], path

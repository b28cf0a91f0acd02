"""TLS: the load is the same, and the server has to show whom it is."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading

import pytest
from rigs import certificates, truth
from rigs.blasting import RunFailedError
from rigs.helpers import needs_linux
from rigs.truth import counted

pytestmark = needs_linux


class TLS:
    """An honest echo over TLS, one thread a connection; ``names`` are those that clients asked for."""

    def __init__(self, pair):
        self.names = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._context.sni_callback = lambda sock, name, context: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._ending = False

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._ending = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def _accept(self):
        while True:
            sock, _ = self._listener.accept()
            if self._ending:
                sock.close()
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock):
        sock.settimeout(10)
        try:
            with self._context.wrap_socket(sock, server_side=True) as tls:
                while data := tls.recv(1 << 16):
                    tls.sendall(data)
        except (OSError, ssl.SSLError):
            pass
        finally:
            sock.close()


@pytest.fixture
def pair(tmp_path):
    return certificates.make(tmp_path)


def blast_tls(blast, server, pair, **plan):
    return blast(server.port, transport="tls", **{"ca": str(pair.certificate), "count": 40, "timeout": 2.0, **plan})


@pytest.mark.parametrize("size", ["64", "20000"])
@pytest.mark.parametrize("load", [{"window": 3}, {"model": "open", "rate": 200.0}])
def test_load(blast, pair, load, size):
    with TLS(pair) as server:
        ran = blast_tls(blast, server, pair, flows=2, size=size, **load)
    assert counted(ran.tally) == {"answered": 40, "connections": 2}
    assert server.names == [None, None], "an address is no name (RFC 6066, section 3)"


def test_cycles(blast, pair):
    with TLS(pair) as server:
        ran = blast_tls(blast, server, pair, flows=2, model="connect", count=10)
    assert counted(ran.tally) == {"answered": 10, "connections": 10}


def test_a_name_that_the_certificate_has(blast, pair):
    with TLS(pair) as server:
        ran = blast_tls(blast, server, pair, server_name="echo.example")
    assert ran.tally.answered == 40
    assert server.names == ["echo.example"]


@pytest.mark.parametrize("model", ["closed", "connect"])
def test_a_name_that_it_has_not(blast, pair, model):
    with TLS(pair) as server, pytest.raises(RunFailedError) as caught:
        blast_tls(blast, server, pair, server_name="somebody.else", model=model)
    said = str(caught.value)
    assert f"the certificate of 127.0.0.1 port {server.port} is not for somebody.else" in said
    assert "--server-name" in said
    assert "--insecure" in said


@pytest.mark.parametrize("ca", [None, "another", "expired"])
def test_a_certificate_that_is_not_to_be_trusted(blast, tmp_path, pair, ca):
    if ca == "another":
        (tmp_path / "another").mkdir()
        trusted = str(certificates.make(tmp_path / "another").certificate)
    elif ca == "expired":
        past = certificates.NOW - datetime.timedelta(days=9)
        pair = certificates.make(tmp_path, start=past, end=past + certificates.DAY)
        trusted = str(pair.certificate)
    else:
        trusted = None
    with TLS(pair) as server, pytest.raises(RunFailedError) as caught:
        blast_tls(blast, server, pair, ca=trusted)
    said = str(caught.value)
    assert f"the certificate of 127.0.0.1 port {server.port} cannot be trusted" in said
    assert "--ca" in said
    assert "--insecure" in said


def test_without_verification_anything_will_do(blast, pair):
    with TLS(pair) as server:
        ran = blast_tls(blast, server, pair, ca=None, insecure=True, server_name="somebody.else")
    assert ran.tally.answered == 40
    assert server.names == ["somebody.else"]


def test_several_roots_in_a_file(blast, tmp_path, pair):
    (tmp_path / "other").mkdir()
    other = certificates.make(tmp_path / "other", "other.example")
    both = tmp_path / "roots.pem"
    both.write_bytes(b"# two\n" + other.certificate.read_bytes() + pair.certificate.read_bytes())
    with TLS(pair) as server:
        assert blast_tls(blast, server, pair, ca=str(both)).tally.answered == 40


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), (b"nothing", "no certificate in"),
     (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read")],
)  # fmt: skip
def test_roots_that_are_none(blast, tmp_path, content, sentence):
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunFailedError, match=sentence) as caught:
        blast(7, transport="tls", ca=str(path))
    assert str(path) in str(caught.value)
    assert "--ca" in str(caught.value)


def test_a_server_that_speaks_no_tls(blast, pair):
    """An echo server gives us our own words back."""
    with truth.TCP(size=1) as server, pytest.raises(RunFailedError) as caught:
        blast_tls(blast, server, pair)
    assert "leave out --tls" in str(caught.value)


@pytest.mark.slow
def test_a_server_that_is_silent_in_the_handshake(blast, pair):
    with truth.TCP(truth.mute) as server, pytest.raises(RunFailedError) as caught:
        blast_tls(blast, server, pair, limit=15)
    assert f"127.0.0.1 port {server.port} did not answer within 5 s" in str(caught.value)

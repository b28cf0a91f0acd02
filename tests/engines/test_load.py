"""What load() imports is all that a server needs: after it, no file of Python code is read any more."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest
from rigs import certificates
from rigs.helpers import LIMIT, ask, blocking, dial, exchange, needs_linux

SERVER = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter

from echobench import EchoService, install_best_reactor
from echobench.engines import DATAGRAM, STREAM, load
from echobench.server.certificate import load_certificate

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name):
            return None
        refused.append(name)
        raise ImportError(f"{name} cannot be read any more")

engine, udp_engine, own, certificate, key = sys.argv[1:]
refused = []
install_best_reactor()
from twisted.internet import reactor
load(STREAM, engine)
load(DATAGRAM, udp_engine)
options = {"engine": engine, "udp_engine": udp_engine}
if own == "own":
    from twisted.internet.protocol import DatagramProtocol, Protocol

    class Stream(Protocol):
        def dataReceived(self, data):
            self.transport.write(data)

    class Datagrams(DatagramProtocol):
        def datagramReceived(self, data, addr):
            self.transport.write(data, addr)

    options.update(protocol=Stream, datagram_protocol=Datagrams)
service = EchoService(
    0, ("127.0.0.1",), tls_port=0, tls_options=load_certificate(certificate, key), max_connections_per_source=100,
    idle_timeout=60, close_timeout=5, udp_rate=1000, **options
)
sys.meta_path.insert(0, Refusing())
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
numbers = {kind: address.port for kind, address in service.addresses()}
print(numbers["tcp"], numbers["udp"], numbers["tls"], flush=True)
reactor.run()
counted = service.snapshot()
print(sorted(refused), counted.connections, counted.open_connections, counted.datagrams, flush=True)
"""


@pytest.mark.parametrize("own", ["echo", "own"])
def test_nothing_is_imported_later(tmp_path, engine, udp_engine, own):
    if own == "own" and (engine, udp_engine) != ("portable", "portable"):
        pytest.skip("only the portable engines serve own protocols")
    check(tmp_path, engine, udp_engine, own)


@needs_linux
def test_nor_by_the_engines_that_are_chosen_here(tmp_path):
    check(tmp_path, "auto", "auto", "echo")


def check(tmp_path, engine, udp_engine, own):
    pair = certificates.make(tmp_path)
    command = [sys.executable, "-c", SERVER, engine, udp_engine, own, str(pair.certificate), str(pair.key)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        line = blocking(process.stdout.readline)
        assert line.count(" ") == 2, line + process.stdout.read()
        tcp, udp, tls = map(int, line.split())
        assert blocking(exchange, tcp, [b"stream"]) == b"stream"
        assert blocking(ask, udp, b"datagram") == b"datagram"
        assert blocking(over_tls, tls, pair) == b"secret"
        with blocking(dial, tcp) as still_there:
            still_there.sendall(b"x")
            assert blocking(still_there.recv, 1) == b"x"
            process.terminate()
            assert blocking(still_there.recv, 1) == b""
        output, _ = process.communicate(timeout=LIMIT)
        assert output == "[] 3 0 1\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def over_tls(number, pair):
    context = ssl.create_default_context(cafile=str(pair.certificate))
    with context.wrap_socket(dial(number), server_hostname="echo.example") as sock:
        sock.sendall(b"secret")
        got = sock.recv(100)
        sock.unwrap().close()
        return got

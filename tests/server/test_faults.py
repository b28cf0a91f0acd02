"""Faults on purpose as options of the service and the program: refused, said aloud, and absent if not asked for."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import pytest_twisted
from rigs.helpers import (
    ask,
    blocking,
    datagram_client,
    dial,
    exchange,
    needs_linux,
    port_of,
    read_exactly,
    until,
    wait_for,
)
from rigs.misbehaving import overtaken, strikes, swapped
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import DatagramProtocol, Protocol
from twisted.logger import LogLevel, capturedLogs

from echobench import EchobenchError, EchoService, EngineError
from echobench.injection import flow

LOOPBACK = ("127.0.0.1",)


@pytest.mark.parametrize("option", ["engine", "udp_engine"])
def test_another_engine_is_refused(option):
    engine = "readiness" if option == "engine" else "batched"
    with pytest.raises(EngineError, match=f"{option}='{engine}' can only echo: with faults given, leave {option} out"):
        EchoService(faults=["drop=1%"], **{option: engine})
    assert EchoService(faults=["drop=1%"], **{option: "portable"})


@pytest.mark.parametrize("own", [{"protocol": Protocol}, {"datagram_protocol": DatagramProtocol}])
def test_own_protocols_are_refused(own):
    with pytest.raises(ValueError, match="faults are for echo: leave them out, or protocol and datagram_protocol"):
        EchoService(faults=["drop=1%"], **own)


@pytest.mark.parametrize("faults", ["drop=1%", 5, [5], [None]])
def test_what_is_no_list_of_rules(faults):
    with pytest.raises(TypeError, match="faults is a list of rules such as 'udp:drop=1%'"):
        EchoService(faults=faults)


def test_a_rule_that_makes_no_sense():
    with pytest.raises(ValueError, match="there is no fault 'dorp'") as caught:
        EchoService(faults=["dorp=1%"])
    assert isinstance(caught.value, EchobenchError)


def test_it_is_said_aloud(serve):
    with capturedLogs() as logs:
        service = serve(0, LOOPBACK, faults=["tcp:delay=20ms,seed=7", "udp:drop=100%"])
    rules = service.fault_rules()
    assert rules[0] == "tcp:delay=20ms,seed=7"
    assert re.fullmatch(r"udp:drop=100%,seed=\d+", rules[1]), "what repeats it is known"
    assert service.where().endswith(f" FAULT={rules[0]} FAULT={rules[1]}")
    said = [(log["log_level"], log.get("faults") or log.get("where")) for log in logs]
    assert (LogLevel.warn, "; ".join(rules)) in said
    assert said[-1] == (LogLevel.info, service.where())
    assert service.engines() == {"tcp": "portable", "udp": "portable"}
    assert service.snapshot().faults == {"delay": 0, "drop": 0}


def test_without_faults_nothing_is_said(serve):
    service = serve(0, LOOPBACK)
    assert (service.fault_rules(), service.fault_counts(), service.snapshot().faults) == ([], {}, {})
    assert "FAULT" not in service.where()


def test_without_faults_none_of_the_code_is_there(tmp_path):
    code = (
        "import sys; from twisted.python import usage; from echobench.server.plugin.tap import Options, makeService;"
        "o = Options(); o.parseOptions(['--port', '0', *sys.argv[1:]]); s = makeService(o);"
        "s.privilegedStartService();"
        "print(sorted(m for m in sys.modules if 'injection' in m.split('.') or 'faulty' in m.split('.')) != [])"
    )
    for options, expected in (([], "False"), (["--fault", "drop=1%"], "True")):
        done = subprocess.run([sys.executable, "-c", code, *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


def test_endpoints_have_faults_too(serve, tmp_path):
    from twisted.internet import reactor

    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    service = serve(None, endpoints=[endpoint], faults=["tcp:duplicate=100%,seed=1"])
    assert blocking(exchange, port_of(service, "endpoint"), [b"twice"]) == b"twicetwice"


@pytest.mark.parametrize("seed", [2, 3])
def test_each_read_of_a_stream_that_is_overtaken_is_counted(serve, monkeypatch, seed):
    """Each message is sent once the one before has been read, so reads are messages, and the seed says which."""
    monkeypatch.setattr(flow, "PATIENCE", 1000.0)  # what waits is overtaken, however long the host takes
    rule, number = f"tcp:reorder=20%,seed={seed}", 60
    order = swapped(rule, number, "tcp")
    service = serve(0, LOOPBACK, faults=[rule])

    def talk():
        with dial(port_of(service)) as sock:
            for at in range(number):
                sock.sendall(b"%3d" % at)
                wait_for(lambda read=at + 1: service.snapshot().reads == read)
            return read_exactly(sock, 3 * number)

    assert blocking(talk) == b"".join(b"%3d" % at for at in order)
    assert service.snapshot().faults == {"reorder": overtaken(order)}
    assert overtaken(order) > 5


def test_a_second_start_repeats_the_first(serve):
    """The same rules with the same seeds, and the first connection is the first again."""
    service = serve(0, LOOPBACK, faults=["udp:corrupt=50%/byte"])
    seen = [blocking(ask, port_of(service, "udp"), bytes(100))]
    pytest_twisted.blockon(service.stopService())
    service.startService()
    seen.append(blocking(ask, port_of(service, "udp"), bytes(100)))
    assert seen[0] == seen[1] != bytes(100)
    ((rule, counts),) = service.fault_counts().items()
    assert [rule] == service.fault_rules()
    assert service.snapshot().faults == {"corrupt": 2 * counts["corrupt"]}


@needs_linux
@pytest.mark.slow
def test_workers_have_streams_of_their_own(launch):
    """The kernel chooses the worker; what happens there is what the seed and the worker's number say."""
    rule = "udp:drop=30%,seed=7"
    server = launch("--interface", "127.0.0.1", "--workers", "2", "--fault", rule)
    assert server.output.count("FAULTS ON PURPOSE: this server misbehaves as asked: udp:drop=30%,seed=7") == 1
    assert re.search(r"ready .* workers=2 FAULT=udp:drop=30%,seed=7$", server.output, re.MULTILINE)
    number = 64
    with datagram_client(server.port("udp")) as client:
        for at in range(number):
            client.send(b"%d" % at)
        expected = [
            [b"%d" % at for at, strike in enumerate(strikes(rule, "drop", number, worker=worker)) if not strike]
            for worker in (0, 1)
        ]
        got = []
        wait_for(lambda: got.append(client.recv(100)) or any(got == each for each in expected))
    assert expected[0] != expected[1]


@pytest.mark.slow
def test_a_program(launch):
    server = launch("--fault", "udp:truncate=2,seed=1", "--stats-interval", "0.05")
    assert "FAULTS ON PURPOSE: this server misbehaves as asked: udp:truncate=2,seed=1" in server.output
    assert re.search(
        r"echobench ready port=\d+ tcp=\S+ udp=\S+ FAULT=udp:truncate=2,seed=1$", server.output, re.MULTILINE
    )
    assert blocking(ask, server.port("udp"), b"hello") == b"he"
    until(lambda: "faults=truncate:1" in server.output)
    until(lambda: "faults=none" in server.output)
    assert server.stop() != 1

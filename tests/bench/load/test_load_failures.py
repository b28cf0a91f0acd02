"""Runs that cannot be: each ends soon, with a sentence that names the server and says what to do."""

from __future__ import annotations

import socket

import pytest
from rigs import truth
from rigs.blasting import RunFailedError
from rigs.helpers import needs_linux
from rigs.truth import counted

pytestmark = needs_linux


def failure(blast, port, **plan):
    with pytest.raises(RunFailedError) as caught:
        blast(port, **plan)
    return str(caught.value)


@pytest.mark.parametrize("model", ["closed", "connect"])
@pytest.mark.parametrize("flows", [1, 100])
def test_nobody_listens(blast, model, flows):
    with truth.nobody() as port:
        said = failure(blast, port, model=model, flows=flows)
    assert f"127.0.0.1 port {port} refuses connections" in said
    assert "check that the server is running" in said


@pytest.mark.slow
def test_nobody_answers_a_connection(blast):
    """A listen queue that is full is silent: Linux throws away what it has no place for."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            said = failure(blast, port, flows=2)
    assert f"127.0.0.1 port {port} did not answer within 5 s" in said
    assert "firewall" in said


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_there_is_no_way(blast, transport):
    """255.255.255.255 takes no connections, and nothing is sent there without leave."""
    said = failure(blast, 7, address="255.255.255.255", transport=transport)
    assert "255.255.255.255" in said


def test_a_server_that_closes_at_once(blast):
    """Whatever it is that it says no to: the run does not begin, or ends at once, and says or shows it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.settimeout(10)
        import threading

        def close_them():
            for _ in range(2):
                listener.accept()[0].close()

        thread = threading.Thread(target=close_them)
        thread.start()
        try:
            ran = blast(port, flows=2, duration=5.0)
        except RunFailedError as error:
            assert "closes its connections at once" in str(error)  # noqa: PT017
        else:
            assert ran.tally.connections_lost == 2
            assert ran.took < 4.5, "of 5 s"
        thread.join()


def test_a_server_that_speaks_first(blast):
    """That is no echo server: its greeting answers nothing, and after it nothing can be told."""

    class Greeter(truth.TCP):
        def _accept(self):
            super()._accept()
            for peer in self._open.values():
                peer.sock.send(b"220 hello\r\n")

    with Greeter() as server:
        try:
            ran = blast(server.port, duration=5.0)
        except RunFailedError as error:
            assert "closes its connections at once" in str(error)  # noqa: PT017
        else:
            assert counted(ran.tally).get("answered", 0) == 0
            assert ran.tally.connections_lost == 1
            assert ran.took < 4.5, "of 5 s"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_source_that_is_in_use(blast, transport):
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with truth.UDP() if transport == "udp" else truth.TCP() as server, socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        held = holder.getsockname()[1]
        said = failure(
            blast, server.port, transport=transport, sources=("127.0.0.1",), source_ports=(held, held), flows=1
        )
    assert f"the source 127.0.0.1 port {held} is in use" in said
    assert "--source-ports" in said


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_source_that_is_not_of_this_machine(blast, transport):
    with truth.UDP() if transport == "udp" else truth.TCP() as server:
        said = failure(blast, server.port, transport=transport, sources=("192.0.2.7",))
    assert "192.0.2.7" in said
    assert "not of this machine" in said


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_source_of_the_other_family(blast, transport):
    said = failure(blast, 7, transport=transport, sources=("::1",))
    assert "::1 cannot send to 127.0.0.1" in said


def test_what_the_portable_engine_cannot_do():
    from echobench.bench.load import LoadError
    from echobench.bench.load.portable.engine import PortableLoad
    from echobench.bench.run.plan import Plan, shares

    (share,) = shares(Plan(host="h", transport="udp", gso=True))
    assert "--gso" in PortableLoad.unavailable(share)
    with pytest.raises(LoadError, match="--gso"):
        PortableLoad(share, ("127.0.0.1", 7), lambda now, tally: None).open()
    (share,) = shares(Plan(host="h"))
    assert PortableLoad.unavailable(share) is None

"""Urgent bytes (MSG_OOB) are echoed in their place in the stream, by every engine."""

from __future__ import annotations

import contextlib
import socket
from unittest import mock

import pytest
from rigs.helpers import blocking, both_families, dial, needs_linux, port_of

pytestmark = [pytest.mark.usefixtures("watched_states"), needs_linux]


@pytest.fixture
def engine(engine_or_spliced):
    return engine_or_spliced


def send_with_urgent(sock):
    """Send bytes of which some are urgent, alone, amid others and twice in a row; return the whole."""
    sent = b""
    for data, flags in (
        (b"a", 0),
        (b"!", socket.MSG_OOB),
        (b"?", socket.MSG_OOB),
        (b"and so on", 0),
        (b"...", socket.MSG_OOB),
        (b"end", 0),
    ):
        sock.send(data, flags)
        sent += data
    return sent


def echo_with_urgent(socks, turns):
    """Do so again and again, and return what was sent and came back the first time that they differ."""
    for _ in range(turns):
        for sock in socks:
            sent, got = send_with_urgent(sock), b""
            sock.settimeout(5)
            with contextlib.suppress(TimeoutError):
                while len(got) < len(sent):
                    got += sock.recv(len(sent) - len(got))
            if got != sent:
                return sent, got
    return None


@both_families
def test_urgent_bytes_are_part_of_the_stream(serve, engine, host):
    """RFC 9293, 3.8.5. An application that does not ask for one otherwise loses it."""
    service = serve(engine=engine)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(port_of(service), host)) for _ in range(30)]  # more than a few: by the ring
        assert blocking(echo_with_urgent, socks, 100) is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_urgent_bytes_on_an_inherited_listener_and_on_those_who_waited_there(serve, engine, family, tmp_path):
    listener = socket.socket(family)
    listener.bind(str(tmp_path / "echo") if family == socket.AF_UNIX else ("127.0.0.1", 0))
    listener.listen(200)

    def connected():
        sock = stack.enter_context(socket.socket(family))
        sock.connect(listener.getsockname())
        return sock

    with contextlib.ExitStack() as stack:
        try:
            with connected() as probe:
                probe.send(b"!", socket.MSG_OOB)
        except OSError:
            pytest.skip("this kernel knows no urgent bytes on Unix sockets")
        name = listener.getsockname()
        socks = [connected() for _ in range(100)]  # more than are taken at once
        serve(None, inherited=[listener], engine=engine)
        listener = mock.Mock(getsockname=lambda: name)
        socks += blocking(lambda: [connected() for _ in range(3)])
        assert blocking(echo_with_urgent, socks, 2) is None

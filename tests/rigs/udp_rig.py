"""A batch of datagrams on a bench: a socket that it serves, clients, and a script for what the kernel says."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys

import pytest
from rigs.helpers import datagram_client, has_ipv6

from echobench import Counters, Guard

if sys.platform == "linux":
    from echobench.engines.destinations import destination_of, put_in_order
    from echobench.engines.udp import engine as udp_batched
    from echobench.engines.udp import trial as udp_trial
    from echobench.engines.udp.batch import Batch
    from echobench.engines.udp.turning import turn
    from echobench.kernel.control import SOL_UDP, UDP_SEGMENT
    from echobench.kernel.messages import Headers

TRAINS = sys.platform == "linux" and udp_trial.joins()
needs_trains = pytest.mark.skipif(not TRAINS, reason="this kernel cannot cut up a train (UDP_SEGMENT)")
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


@pytest.fixture
def nothing_is_remembered():
    """Begin with empty caches."""
    turn.cache_clear()
    destination_of.cache_clear()


def send_train(sock, data, segment):
    sock.sendmsg([data], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment))])


class Rig(contextlib.ExitStack):
    """A batch, a socket that it serves, and clients; what is sent over loopback has arrived when it is sent."""

    def __init__(self, *, guard=None, trains=False, count=64):
        super().__init__()
        self.counters = Counters()
        self.batch = Batch(guard or Guard(), self.counters, trains=trains, count=count)
        six = has_ipv6()
        self.server = self.enter_context(socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM))
        if six:
            self.server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.server.bind(("::" if six else "0.0.0.0", 0))
        self.server.setblocking(False)
        put_in_order(self.server)
        udp_batched.prepare(self.server)

    def client(self, host="127.0.0.1", port=0, source=None):
        return self.enter_context(datagram_client(self.server.getsockname()[1], host, (source or host, port)))

    def begin(self):
        """Receive what there is, and begin to answer it."""
        number = self.batch.receive(self.server.fileno())
        return number, self.batch.answer(self.server, number) if number else None

    def serve(self):
        """Answer all there is; says how many messages that were."""
        total = 0
        while True:
            number, unfinished = self.begin()
            if not number:
                return total
            total += number
            for _ in unfinished or ():
                pass


@pytest.fixture
def rig(nothing_is_remembered):
    with contextlib.ExitStack() as stack:
        yield lambda **how: stack.enter_context(Rig(**how))


def received(sock, number):
    return [sock.recv(1 << 17) for _ in range(number)]


class Script:
    """Stands before sending: each outcome is how many messages may go at most, or the negative number of an error."""

    def __init__(self, monkeypatch, *outcomes):
        self.outcomes = list(outcomes)
        self.calls = []
        real = Headers.send

        def send(headers, descriptor, first, number):
            self.calls.append((first, number))
            outcome = self.outcomes.pop(0) if self.outcomes else number
            if outcome < 0:
                ctypes.set_errno(-outcome)
                return -1
            return real(headers, descriptor, first, min(outcome, number))

        monkeypatch.setattr(Headers, "send", send)

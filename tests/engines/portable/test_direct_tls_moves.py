"""TLS at the socket, move by move: any conversation, byte by byte, on sockets whose buffers are small."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import ssl
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from rigs import certificates
from rigs.helpers import LIMIT
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from echobench import EchoFactory
from echobench.engines.portable.direct_tls import ALONE, LOOK
from echobench.engines.portable.tls import EchoTLSFactory
from echobench.engines.portable.transport import PromptTransport
from echobench.server.certificate import load_certificate


class Port:
    """What a transport asks of its port: something to write into its own name."""

    _realPortNumber = 0  # noqa: N815 (Twisted's name)


class Reactor(Clock):
    """Notes who is to be watched; the test looks itself whether something is ready."""

    def __init__(self):
        super().__init__()
        self.readers, self.writers = set(), set()

    def addReader(self, transport):
        self.readers.add(transport)

    def addWriter(self, transport):
        self.writers.add(transport)

    def removeReader(self, transport):
        self.readers.discard(transport)

    def removeWriter(self, transport):
        self.writers.discard(transport)

    def turn(self):
        """Serve who is ready, as a reactor does."""
        reading, writing, _ = select.select(list(self.readers), list(self.writers), [], 0)
        for ready, do in ((reading, "doRead"), (writing, "doWrite")):
            for transport in ready:
                if transport.connected and (why := getattr(transport, do)()):
                    self.removeReader(transport)
                    self.removeWriter(transport)
                    transport.connectionLost(Failure(why))
        self.advance(0.001)
        return bool(reading or writing)


class Conversation(RuleBasedStateMachine):
    """A client that sends records in pieces, together or one by one, and reads when it likes."""

    pair = None

    @initialize(version=st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]), seed=st.integers(0, 99))
    def begin(self, version, seed):
        self.random = random.Random(seed)
        self.reactor = Reactor()
        options = load_certificate(str(self.pair.certificate), str(self.pair.key))
        self.protocol = EchoTLSFactory(options, EchoFactory(reactor=self.reactor), self.reactor).buildProtocol(None)
        with socket.socket() as listener:
            self.sock = socket.socket()
            for each in (listener, self.sock):
                # Small buffers, so that they fill; and segments far smaller than they are, for else the kernel waits a
                # fifth of a second before it says that there is room again (RFC 1122, 4.2.3.3).
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.sock.connect(listener.getsockname())
            ours, address = listener.accept()
        ours.setblocking(False)
        self.sock.setblocking(False)
        self.transport = PromptTransport(ours, self.protocol, address, Port, 1, self.reactor)
        self.protocol.makeConnection(self.transport)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(self.pair.certificate))
        context.maximum_version = version
        self.client = context.wrap_bio(self.incoming, self.outgoing, server_hostname="echo.example")
        self.said, self.heard, self.waiting = 0, bytearray(), b""
        self.written, write = bytearray(), self.protocol.write
        self.protocol.write = lambda data: (self.written.extend(data), write(data))
        self.go_on(lambda: self.shaken() and self.protocol._handshakeDone)

    def shaken(self):
        try:
            self.client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def go_on(self, enough, *, sends=True, hears=True):
        """Let bytes go, both ways unless told otherwise, until that is enough."""
        end = time.monotonic() + LIMIT
        while not enough():
            assert time.monotonic() < end, "it never came to be"
            if sends:
                self.send(1 << 20)
            self.serve()
            if hears:
                self.hear(1 << 20)
            if not enough():
                select.select([self.sock, *self.reactor.readers], self.reactor.writers, [], 0.01)

    def echoed(self):
        """Whether the server has read all that the client said."""
        return self.protocol.wrappedProtocol.factory.counters.stream_bytes == self.said

    def send(self, most):
        """Give the network some of what the client has for it."""
        self.waiting += self.outgoing.read()
        with contextlib.suppress(BlockingIOError):
            sent = self.sock.send(self.waiting[:most])
            self.waiting = self.waiting[sent:]

    def hear(self, most):
        """Have the client read some of what the network has."""
        with contextlib.suppress(BlockingIOError):
            self.incoming.write(self.sock.recv(most))
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                self.heard += self.client.read(1 << 14)

    def serve(self):
        for _ in range(20):
            if not self.reactor.turn():
                break

    def say(self, size):
        self.said += size
        self.client.write(self.random.randbytes(size))

    @rule(sizes=st.lists(st.integers(1, 16384), min_size=1, max_size=10), heard=st.booleans())
    def speak_one_by_one(self, sizes, heard):
        for size in sizes:
            self.say(size)
            if heard:
                self.go_on(lambda: self.echoed() and len(self.heard) == len(self.written))
            else:  # a server that waits for room does not read
                self.go_on(lambda: self.echoed() or self.transport not in self.reactor.readers, hears=False)

    @rule(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=20))
    def speak(self, sizes):
        for size in sizes:
            self.say(size)

    @rule(most=st.integers(1, 40_000), served=st.booleans())
    def carry(self, most, served):
        self.send(most)
        if served:
            self.serve()

    @rule(most=st.integers(1, 40_000))
    def listen(self, most):
        self.hear(most)

    @rule(size=st.integers(1, 60_000))
    def be_told(self, size):
        """Have the server say something by itself."""
        self.protocol.wrappedProtocol.transport.write(self.random.randbytes(size))

    @rule()
    def be_interrupted(self):
        """Nothing that Twisted does of itself may find the memory gone."""
        self.protocol._flushSendBIO()
        assert self.protocol._direct is None
        assert self.protocol._between or self.protocol._records._odd

    def teardown(self):
        if not hasattr(self, "client"):
            return
        try:
            self.go_on(lambda: self.echoed() and len(self.heard) == len(self.written))
            assert self.heard == self.written
        finally:
            self.transport.connectionLost(Failure(CONNECTION_DONE))
            self.sock.close()


def test_any_conversation(tmp_path_factory):
    Conversation.pair = certificates.make(tmp_path_factory.mktemp("certificate"))
    run_state_machine_as_test(Conversation, settings=settings(deadline=None, max_examples=40, stateful_step_count=30))


@pytest.fixture
def conversation(certified):
    """One in which OpenSSL has the server's socket, whose buffers are small."""
    Conversation.pair = certified
    made = Conversation()
    made.begin(version=ssl.TLSVersion.TLSv1_3, seed=1)
    made.speak_one_by_one(sizes=[100] * (ALONE + 1), heard=True)
    assert made.protocol._direct is not None
    yield made
    made.teardown()


def test_messages_that_come_together_are_read_in_memory(conversation):
    for _ in range(LOOK + 2):
        conversation.say(50)
    conversation.go_on(conversation.echoed)
    assert conversation.protocol._direct is None
    conversation.speak_one_by_one(sizes=[100] * ALONE, heard=True)
    assert conversation.protocol._direct is None, "next time it takes more of them"
    conversation.speak_one_by_one(sizes=[100] * ALONE, heard=True)
    assert conversation.protocol._direct is not None


def test_a_long_write_that_the_socket_takes_in_part(conversation):
    conversation.be_told(size=60_000)
    assert conversation.protocol._direct is None


def test_what_waits_for_room_is_not_overtaken(conversation):
    for _ in range(100):
        conversation.be_told(size=5_000)
        conversation.serve()
        if conversation.transport._tempDataLen > 30_000:  # less than what a transport pauses its producer for
            break
    conversation.speak_one_by_one(sizes=[100] * (ALONE + 1), heard=False)
    assert conversation.transport.dataBuffer or conversation.transport._tempDataLen
    assert conversation.protocol._direct is None


def test_an_interruption_in_the_middle_of_a_record(conversation):
    conversation.say(5000)
    conversation.send(2500)
    conversation.go_on(lambda: not conversation.protocol._between, sends=False)
    conversation.be_interrupted()


def test_a_goodbye_for_which_the_socket_has_no_room_is_kept(certified):
    Conversation.pair = certified
    made = Conversation()
    made.begin(version=ssl.TLSVersion.TLSv1_3, seed=1)
    made.speak_one_by_one(sizes=[100] * (ALONE + 1), heard=True)
    sock = made.transport.socket
    for size in (1 << 16, 1):  # a socket that is not said to be writable takes a byte still
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(bytes(size))
                select.select([], [sock], [], 0.1)  # until the peer's buffers are full too
    assert made.protocol._direct is not None
    made.protocol._shutdownTLS()
    assert made.transport._tempDataLen > 0
    made.transport.connectionLost(Failure(CONNECTION_DONE))
    made.sock.close()

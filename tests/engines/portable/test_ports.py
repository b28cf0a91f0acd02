"""The portable engines' own ports and transports, piece by piece."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
import pytest_twisted
from rigs import certificates
from rigs.helpers import blocking, dial, exchange, needs_linux, port_of, until
from rigs.tls_rig import wrap
from twisted.internet.protocol import Factory, Protocol

from echobench import Caps, Counters, EchoFactory, EchoUDP, Reason
from echobench.engines import Setting
from echobench.engines.destinations import answering, destination_of
from echobench.engines.portable import datagram as datagrams
from echobench.engines.portable.datagram import DatagramPort
from echobench.engines.portable.engine import PortableDatagram, PortableStream
from echobench.engines.portable.gathered import Gathered
from echobench.engines.portable.stream import StreamPort
from echobench.engines.portable.tls import EchoTLSFactory
from echobench.seldom import Seldom
from echobench.server.certificate import load_certificate
from echobench.sockets import Spot, bind, close_all


def packed(address):
    return socket.inet_pton(socket.AF_INET6, address)


def six(address, index=7):
    return (socket.IPPROTO_IPV6, 50, packed(address) + struct.pack("=i", index))


@needs_linux
def test_the_answer_leaves_by_whatever_interface_leads_back():
    """The index that it came in by is zeroed, or a host with asymmetric routes would answer into nowhere."""
    assert answering(six("2001:db8::1")) == (six("2001:db8::1", 0),)
    assert answering(six("::ffff:127.0.0.1")) == (six("::ffff:127.0.0.1", 0),)
    four = (socket.IPPROTO_IP, 8, struct.pack("=i4s4s", 7, socket.inet_aton("10.0.0.9"), socket.inet_aton("127.0.0.2")))
    assert answering(four) == (
        (socket.IPPROTO_IP, 8, struct.pack("=i4s4s", 0, socket.inet_aton("127.0.0.2"), bytes(4))),
    )


@needs_linux
def test_but_a_link_local_address_keeps_its_interface():
    assert answering(six("fe80::1")) == (six("fe80::1"),)


@needs_linux
@pytest.mark.parametrize("group", ["ff02::1", "::ffff:224.0.0.1", "::ffff:255.255.255.255", "::ffff:127.255.255.255"])
def test_groups_have_no_answer(group):
    assert answering(six(group)) is None


class Receiver:
    """A socket that hands out what it is given, and keeps what is sent."""

    family = socket.AF_INET6

    def __init__(self, *incoming):
        self.incoming, self.sent = list(incoming), []

    def setsockopt(self, *args):
        pass

    def getsockopt(self, *args):
        return 0

    def getsockname(self):
        return ("::1", 7007, 0, 0)

    def recvmsg(self, size, room):
        if not self.incoming:
            raise BlockingIOError
        item = self.incoming.pop(0)
        if isinstance(item, OSError):
            raise item
        return item

    def sendmsg(self, buffers, control, flags, address):
        self.sent.append((b"".join(buffers), control, address))


def served(*incoming):
    sock, counters = Receiver(*incoming), Counters()
    protocol = EchoUDP(counters=counters)
    port = DatagramPort(sock, protocol, counters, None)  # type: ignore[arg-type]
    protocol.transport = port
    port.doRead()
    return sock, counters


def test_a_link_local_peer_is_answered_with_its_scope():
    sock, _ = served((b"x", [], 0, ("fe80::9", 5000, 0, 3)))
    assert sock.sent == [(b"x", (), ("fe80::9", 5000, 0, 3))]


def test_an_error_of_an_earlier_datagram_costs_no_other():
    sock, _ = served(OSError(errno.ECONNREFUSED, "ICMP"), (b"x", [], 0, ("::1", 5000, 0, 0)))
    assert len(sock.sent) == 1


def test_one_turn_is_bounded():
    sock, _ = served(*[(b"", [], 0, ("::1", 5000, 0, 0))] * 1000)
    assert len(sock.sent) == datagrams.DATAGRAMS_PER_WAKE_UP


def test_a_fault_at_every_datagram_is_logged_once_a_minute(monkeypatch, logged_errors):
    now = [0.0]
    monkeypatch.setattr(datagrams, "Seldom", lambda: Seldom(lambda: now[0]))
    monkeypatch.setattr(EchoUDP, "datagramReceived", lambda *args: 1 / 0)
    message = (b"x", [], 0, ("::1", 5000, 0, 0))
    served(*[message] * 10)
    assert [event["log_format"] for event in logged_errors] == ["a datagram could not be handled{more}"]
    logged_errors.clear()


@needs_linux
def test_peers_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(datagrams, "PEERS_REMEMBERED", 3)
    here = [six("::ffff:127.0.0.2")]
    sock = Receiver(*[(b"x", here, 0, ("::1", 5000 + i, 0, 0)) for i in (0, 1, 2, 0, 3)])

    class Silent(EchoUDP):
        def datagramReceived(self, data, addr):
            pass

    port = DatagramPort(sock, Silent(), Counters(), None)  # type: ignore[arg-type]
    port.doRead()
    for i in range(4):
        port.write(b"late", ("::1", 5000 + i))
    known = answering(here[0])
    assert [source for _, source, _ in sock.sent] == [known, (), known, known], "the longest silent one is forgotten"


class Somewhere(Receiver):
    """One that is bound to all addresses."""

    def getsockname(self):
        return ("::", 7007, 0, 0)


@needs_linux
def test_what_comes_without_its_destination_is_not_answered():
    """Its control data had no room: it may have been sent to a group."""
    sock, counters = Somewhere(), Counters()
    destination = six("::ffff:127.0.0.2")
    time_of_day = (socket.SOL_SOCKET, 29, bytes(16))
    whole = [time_of_day, destination]
    sock.incoming = [
        (b"1", [time_of_day], socket.MSG_CTRUNC, ("::1", 5000, 0, 0)),
        (b"2", [time_of_day, (*destination[:2], destination[2][:8])], socket.MSG_CTRUNC, ("::1", 5000, 0, 0)),
        (b"3", whole, socket.MSG_CTRUNC, ("::1", 5000, 0, 0)),  # another one had no room
        (b"4", whole, 0, ("::1", 5000, 0, 0)),
        (b"5", [time_of_day], 0, ("::1", 5000, 0, 0)),
    ]
    protocol = EchoUDP(counters=counters)
    port = DatagramPort(sock, protocol, counters, None)  # type: ignore[arg-type]
    protocol.transport = port
    port.doRead()
    assert [(data, source) for data, source, _ in sock.sent] == [
        (b"3", answering(destination)),
        (b"4", answering(destination)),
    ]
    assert counters.drops == {Reason.DESTINATION_UNKNOWN: 3}


@needs_linux
def test_without_a_descriptor_to_look_with_nothing_is_answered_nor_remembered(monkeypatch):
    def none_left(host):
        raise OSError(errno.EMFILE, "Too many open files")

    destination_of.cache_clear()
    monkeypatch.setattr("echobench.groups.is_broadcast", none_left)
    message = (b"x", [six("::ffff:127.0.0.3")], 0, ("::1", 5000, 0, 0))
    sock, counters = served(message)
    assert sock.sent == []
    assert counters.drops == {Reason.DESTINATION_UNKNOWN: 1}
    monkeypatch.undo()
    assert len(served(message)[0].sent) == 1


@needs_linux
def test_an_inherited_socket_may_not_broadcast(serve):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.bind(("127.0.0.1", 0))
    serve(None, inherited=[sock])
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 0


@pytest.fixture(params=[False, pytest.param(True, marks=needs_linux)], ids=["by the reactor", "gathered"])
def adopt(request):
    """Serve a factory on a port of ours, whose connections are watched by the reactor or together."""
    from twisted.internet import reactor

    ports = []

    def start(factory):
        factory.noisy = False
        (sock,) = bind(Spot("tcp", "127.0.0.1", 0))
        ports.append(StreamPort.adopt(sock, factory, Counters(), reactor, gather=request.param))
        return ports[-1]

    yield start
    for port in ports:
        pytest_twisted.blockon(port.stopListening())


@pytest.fixture
def transport(adopt):
    """A connected transport of ours, and its peer's socket; what it gives the kernel can be limited."""
    made = []

    class Keep(Protocol):
        def connectionMade(self):
            made.append(self.transport)

    port = adopt(Factory.forProtocol(Keep))
    peer = blocking(dial, port.getHost().port)
    until(lambda: made)
    yield made[0], peer
    peer.close()
    until(lambda: made[0].disconnected)


def test_it_sends_at_once(transport):
    ours, peer = transport
    ours.write(b"at once")
    assert peer.recv(100) == b"at once", "with no turn of the reactor in between"
    assert not waits(ours)


def waits(transport):
    """Whether something is watching for room to write."""
    if isinstance(transport.reactor, Gathered):
        return transport.reactor.writers() > 0
    return transport in transport.reactor.getWriters()


@needs_linux
def test_without_another_poller_the_reactor_watches(serve_tls, certified, monkeypatch):
    def none_left():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("echobench.engines.portable.gathered.poller", none_left)
    port = port_of(serve_tls(), "tls")

    def client():
        with wrap(dial(port), certified) as sock:
            sock.sendall(b"x")
            return sock.recv(1)

    assert blocking(client) == b"x"


class Narrow:
    """A socket that takes only so many bytes at each of the first calls."""

    def __init__(self, sock, *room):
        self.sock, self.room = sock, list(room)

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def send(self, data):
        if self.room and not self.room[0]:
            del self.room[0]
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self.sock.send(data[: self.room.pop(0)] if self.room else data)


def test_what_waits_goes_first(transport):
    ours, peer = transport
    ours.socket = Narrow(ours.socket, 3, 0)
    ours.write(b"abcdef")
    assert ours.unsent() >= 3
    ours.write(b"ghi")
    ours.doWrite()  # takes nothing: what waits is in dataBuffer now
    ours.write(b"jkl")
    until(lambda: not waits(ours))
    assert blocking(peer.recv, 100) == b"abcdefghijkl"


def test_after_its_own_end_of_file_it_sends_nothing(transport):
    ours, peer = transport
    ours.loseWriteConnection()
    until(lambda: ours._writeDisconnected)
    ours.write(b"too late")
    assert blocking(peer.recv, 100) == b""


def test_a_pull_producer_is_asked_again(transport):
    ours, peer = transport

    class Pull:
        def __init__(self):
            self.left = [b"a", b"b", b"c"]

        def resumeProducing(self):
            if self.left:
                ours.write(self.left.pop(0))
            else:
                ours.unregisterProducer()

        def stopProducing(self):
            pass

    ours.registerProducer(Pull(), False)
    until(lambda: ours.producer is None)
    assert blocking(peer.recv, 100) == b"abc"


def test_a_factory_that_fails_costs_one_client(adopt, logged_errors):
    class Moody(EchoFactory):
        failures = 1

        def buildProtocol(self, addr):
            if self.failures:
                self.failures -= 1
                raise RuntimeError("a bad day")
            return super().buildProtocol(addr)

    port = adopt(Moody())
    with blocking(dial, port.getHost().port) as sock:
        assert blocking(sock.recv, 10) == b""
    assert blocking(exchange, port.getHost().port, [b"the next"]) == b"the next"
    assert "a bad day" in str(logged_errors.pop())


@pytest.mark.parametrize("tls", [False, True])
def test_a_transport_that_fails_gives_its_place_back(adopt, logged_errors, monkeypatch, tmp_path, tls):
    from twisted.internet import reactor

    factory = EchoFactory(caps=Caps(1))
    pair = certificates.make(tmp_path)
    options = load_certificate(str(pair.certificate), str(pair.key))
    port = adopt(EchoTLSFactory(options, factory, reactor) if tls else factory)
    monkeypatch.setattr(StreamPort, "transport", lambda *args: 1 / 0)
    with blocking(dial, port.getHost().port) as sock:
        assert blocking(sock.recv, 10) == b""
    monkeypatch.undo()
    assert len(logged_errors) == 1
    logged_errors.clear()
    assert factory.caps.take("next") is None, "there is room again"
    factory.caps.release("next")
    if not tls:
        assert blocking(exchange, port.getHost().port, [b"room"]) == b"room"
    blocking(dial, port.getHost().port).close()  # the port still listens
    until(lambda: not factory.connections)
    assert factory.counters.open_connections == 0


@needs_linux
def test_a_port_gives_back_its_reserve(serve):
    def reserves():
        return sum(os.readlink(f"/proc/self/fd/{fd}") == os.devnull for fd in os.listdir("/proc/self/fd") if link(fd))

    def link(fd):
        return os.path.islink(f"/proc/self/fd/{fd}")

    service = serve(0, ("127.0.0.1",))
    before = reserves()
    pytest_twisted.blockon(service.stopService())
    assert reserves() == before - 1


def test_one_turn_of_accepting_is_bounded(serve, monkeypatch):
    monkeypatch.setattr("echobench.acceptor.ACCEPTED_AT_ONCE", 2)
    service = serve(0, ("127.0.0.1",), engine="portable")
    socks = [dial(port_of(service)) for _ in range(5)]  # in the reactor's thread: it cannot accept meanwhile
    ((_, port),) = [pair for pair in service._ports if pair[0] == "tcp"]
    port.doRead()
    assert service.snapshot().connections == 2
    until(lambda: service.snapshot().connections == 5)
    close_all(socks)


class NoDescriptors:
    """A reactor like IOCP's, which takes no descriptor of ours, and notes what it is asked to listen on."""

    def __init__(self):
        self.asked = []

    def listenTCP(self, port, factory, backlog, interface):
        self.asked.append(("tcp", interface, port, backlog))
        return f"port {port}"

    def listenUDP(self, port, protocol, interface, maxPacketSize):
        self.asked.append(("udp", interface, port, maxPacketSize))
        return f"port {port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_reactor_that_takes_no_sockets_binds_the_address_again(host):
    reactor = NoDescriptors()
    setting = Setting(reactor, backlog=17)
    (stream,), (datagram,) = bind(Spot("tcp", host, 0)), bind(Spot("udp", host, 0))
    numbers = stream.getsockname()[1], datagram.getsockname()[1]
    assert PortableStream(setting).listen(stream) == f"port {numbers[0]}"
    assert PortableDatagram(setting).listen(datagram) == f"port {numbers[1]}"
    assert reactor.asked == [("tcp", host, numbers[0], 17), ("udp", host, numbers[1], 65536)]
    assert (stream.fileno(), datagram.fileno()) == (-1, -1), "closed, or the address would be in use"

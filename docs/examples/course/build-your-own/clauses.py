"""What the key-value service promises, with checks: ``python clauses.py PORT``."""

import sys
import time

from echobench.bench.verify import Absent, Clause, Failed, Refused, verify
from echobench.bench.verify.report import show
from echobench.bench.verify.streams import expect_end, half_close, receive, send

PAGE = "docs/course/build-your-own.md"
KEPT = 32 << 20  # bytes of questions, more than all buffers of the kernels hold
STALL = 2.0  # seconds without a byte taken, after which it reads no more, we say


def say(peer, sock, line, answer):
    """Send a line, and expect an answer."""
    send(peer, sock, line + b"\r\n")
    expect(peer, sock, answer + b"\r\n")


def expect(peer, sock, wanted):
    got = receive(peer, sock, len(wanted))
    if got != wanted:
        raise Failed(f"{wanted[:40]!r} was expected, and {got[:40]!r} came")


def connect(peer):
    try:
        return peer.connect()
    except Refused as error:
        raise Absent(f"no TCP service: {error}") from None


def answer(peer):
    with connect(peer) as sock:
        say(peer, sock, b"GET nothing", b"MISSING")
        say(peer, sock, b"SET colour dark blue", b"OK")
        say(peer, sock, b"GET colour", b"VALUE dark blue")
        say(peer, sock, b"DEL colour", b"OK")
        say(peer, sock, b"GET colour", b"MISSING")
    return "SET, GET and DEL were answered"


def shared(peer):
    with peer.connect() as one, peer.connect() as other:
        say(peer, one, b"SET shared 1", b"OK")
        say(peer, other, b"GET shared", b"VALUE 1")
        say(peer, other, b"DEL shared", b"OK")
    return "what one connection sets, another one gets"


def bytewise(peer):
    with peer.connect() as sock:
        for byte in b"SET slow 1\r\nDEL slow\r\n":
            send(peer, sock, bytes([byte]))
            time.sleep(0.002)  # so that the server must read each alone
        expect(peer, sock, b"OK\r\nOK\r\n")
    return "commands that came byte by byte were answered"


def pipelined(peer):
    with peer.connect() as sock:
        send(peer, sock, b"".join(b"SET key%d %d\r\nGET key%d\r\nDEL key%d\r\n" % (n, n, n, n) for n in range(500)))
        half_close(sock)
        expect(peer, sock, b"".join(b"OK\r\nVALUE %d\r\nOK\r\n" % n for n in range(500)))
        expect_end(peer, sock)
    return "1,500 commands in one piece were answered in order, and then came the end"


def bad_line(peer):
    with peer.connect() as sock:
        for line in (b"HELLO", b"", b"GET", b"SET key", bytes(range(128, 256))):
            send(peer, sock, line + b"\r\n")
            got = b""
            while not got.endswith(b"\r\n"):
                if not (more := receive(peer, sock, 1)):
                    raise Failed(f"the line {line[:20]!r} was not answered")
                got += more
            if not got.startswith(b"ERROR "):
                raise Failed(f"the line {line[:20]!r} was answered by {got!r}")
    return "lines that are no commands were answered by ERROR, and the connection went on"


def long_line(peer):
    with peer.connect() as sock:
        sent = 0
        sock.settimeout(peer.timeout)
        try:
            while sent < KEPT:
                sent += sock.send(b"x" * 65536)
        except ConnectionError:
            return "a line without end ended the connection"
        except TimeoutError:
            raise Failed(f"after {sent:,} bytes of a line it neither reads nor ends the connection") from None
    raise Failed(f"{sent:,} bytes of a line without end were taken")


def back_pressure(peer):
    key, value = b"k" * 450, b"v" * 500
    with peer.connect() as sock:
        say(peer, sock, b"SET %s %s" % (key, value), b"OK")
        questions, sent = b"GET %s\r\n" % key * 100, 0
        sock.settimeout(STALL)
        while sent < KEPT:
            try:
                sent += sock.send(questions[sent % len(questions) :])
            except TimeoutError:
                break
        if sent >= KEPT:
            raise Failed(f"it took {sent >> 20} MiB of questions from a peer that reads no answer")
        for _ in range(sent // len(b"GET %s\r\n" % key)):
            expect(peer, sock, b"VALUE %s\r\n" % value)
    return f"it read no more after {sent:,} bytes of questions, and then answered them"


def datagram(peer):
    with peer.connect() as sock, peer.datagrams() as box:
        say(peer, sock, b"SET udp 1", b"OK")
        box.settimeout(peer.timeout / 3)
        for _ in range(3):  # datagrams may be lost
            box.sendto(b"GET udp".ljust(100, b"\0"), peer.sockaddr)
            try:
                got = box.recv(1000)
            except TimeoutError:
                continue
            say(peer, sock, b"DEL udp", b"OK")
            if got != b"VALUE 1":
                raise Failed(f"{got!r} came")
            return "a datagram was answered"
    raise Absent("no UDP service: 3 datagrams, and no answer")


def no_amplifier(peer):
    with peer.connect() as sock, peer.datagrams() as box:
        say(peer, sock, b"SET long " + b"v" * 900, b"OK")
        box.sendto(b"GET long", peer.sockaddr)
        box.sendto(b"GET nothing".ljust(100, b"\0"), peer.sockaddr)
        box.settimeout(peer.timeout)
        got = box.recv(2000)
        say(peer, sock, b"DEL long", b"OK")
        if got != b"MISSING":
            raise Failed(f"a question of 8 bytes brought an answer of {len(got)}")
    return "a question without room for the answer was not answered"


SUITE = {
    Clause(id=name, title=title, basis=f"{PAGE}, {where}"): check
    for name, title, where, check in (
        ("tcp-answer", "SET, GET and DEL are answered", "step 3", answer),
        ("tcp-shared", "All connections see the same store", "step 3", shared),
        ("tcp-bytewise", "A command that comes byte by byte is one command", "step 3", bytewise),
        ("tcp-pipelined", "Many commands in one piece are answered in order, and then the end", "step 3", pipelined),
        ("tcp-bad-line", "A line that is no command is answered by ERROR, and harms nothing", "step 2", bad_line),
        ("tcp-long-line", "A line without end fills no memory", "step 2", long_line),
        ("tcp-back-pressure", "A peer that asks and does not read fills no memory", "step 4", back_pressure),
        ("udp-answer", "A datagram with room for the answer is answered", "step 5", datagram),
        ("udp-no-amplifier", "No answer is longer than its question", "step 5", no_amplifier),
    )
}  # fmt: skip


def main(port):
    found = verify("127.0.0.1", port, families=[4], suite=SUITE)
    show(found)
    return int(not found.passed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

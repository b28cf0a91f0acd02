"""What others have prepared or ask for: options of sockets, ALPN, urgent bytes, values that make no sense."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence

from hostile.activation import launch_with
from hostile.case import DATAGRAMS, STREAMS, Trial, case, linux
from rigs import certificates
from rigs.helpers import ask, dial, read_exactly

OPTIONS: Sequence[tuple[str, str]] = (
    ("SO_TIMESTAMP, as systemd's Timestamping=us has it", "1,29,1"),
    ("SO_TIMESTAMPNS and SO_RXQ_OVFL", "1,35,1,1,40,1"),
    ("RCVMARK, RECVTTL, RECVTOS and RECVERR", "1,75,1,0,12,1,0,13,1,0,11,1"),
    ("broadcast, and answers in segments of 10 bytes", "1,6,1,17,103,10"),
)


@case(
    DATAGRAMS,
    done="UDP sockets are inherited that deliver time stamps, drops, marks and errors, or cut up what is sent",
    holds="each datagram is answered whole, and from the address that was asked",
    unit="datagrams",
    short=12,
    long=400,
    needs=(linux,),
)
def sockets_with_options(trial: Trial) -> None:
    for _, options in OPTIONS:
        server = launch_with(trial, socket.SOCK_DGRAM, options)
        for number in range(trial.amount // len(OPTIONS)):
            trial.tried()
            data = b"%d" % number * 50
            try:
                trial.lost(ask(server.port("udp"), data, f"127.0.0.{number % 250 + 1}") != data)
            except TimeoutError:
                trial.lost()
        assert "Traceback" not in server.output, server.output


@case(
    STREAMS,
    done="TLS clients offer protocols by ALPN (http/1.1, h2, and one that nobody knows)",
    holds="each is served, without one",
    unit="connections",
    short=6,
    long=300,
    engines=["portable"],
)
def clients_that_offer_alpn(trial: Trial) -> None:
    pair = certificates.make(trial.cwd)
    server = trial.launch(
        "--interface", "127.0.0.1", "--tls-port", "0",
        "--certificate", str(pair.certificate), "--private-key", str(pair.key),
    )  # fmt: skip
    for number in range(trial.amount):
        context = ssl.create_default_context(cafile=str(pair.certificate))
        context.set_alpn_protocols((["http/1.1"], ["h2", "http/1.1"], ["nobody/0.1"])[number % 3])
        trial.tried()
        with context.wrap_socket(dial(server.port("tls")), server_hostname="echo.example") as sock:
            assert sock.selected_alpn_protocol() is None
            sock.sendall(b"by whichever")
            trial.lost(read_exactly(sock, 12) != b"by whichever")


@case(
    STREAMS,
    done="bytes are marked as urgent, each amid others",
    holds="they come back in their places",
    unit="connections",
    short=40,
    long=2_000,
)
def urgent_bytes(trial: Trial) -> None:
    server = trial.launch("--interface", "127.0.0.1")
    for number in range(trial.amount):
        with dial(server.port()) as sock:
            sock.sendall(b"%05d" % number)
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(b"behind")
            sock.shutdown(socket.SHUT_WR)
            trial.tried()
            trial.lost(read_exactly(sock, 100) != b"%05d!behind" % number)


@case(
    STREAMS,
    done="the server is given values that make no sense",
    holds="it says what is wrong with which, in one sentence, and ends with a status",
    unit="servers",
    short=14,
    long=14,
    needs=(linux,),
    engines=["portable"],
)
def values_that_make_no_sense(trial: Trial) -> None:
    fifo = trial.cwd / "fifo"
    os.mkfifo(fifo)
    pair = certificates.make(trial.cwd)
    tls = ("--certificate", str(pair.certificate), "--private-key", str(pair.key))
    given: Sequence[tuple[Sequence[str], str]] = (
        (("--interface=",), "interface"),
        (("--interface", "224.0.0.1"), "multicast address"),
        (("--interface", "255.255.255.255"), "broadcast address"),
        (("--interface", "127.255.255.255"), "broadcast address"),
        (("--interface", "ff02::1%lo"), "multicast address"),
        (("--interface", "::ffff:224.0.0.1"), "multicast address"),
        (("--interface", "a" * 64), "not an address"),
        (("--interface", "fe80::1%" + "a" * 64), "interface"),
        (("--backlog", "2147483648"), "2147483648"),
        (("--port", "70000"), "70000"),
        (("--idle-timeout", "nan"), "nan"),
        (("--udp-rate", "1e400"), "1e400"),
        (("--port", "17007", "--tls-port", "17007", *tls), "17007"),
        (("--tls-port", "0", "--certificate", str(fifo), "--private-key", str(fifo)), "fifo"),
    )
    for options, said in given:
        server = trial.launch(*options, ready=False)
        trial.tried()
        assert server.wait() not in (0, None), options
        assert said in server.output, (options, server.output)
        assert "Traceback" not in server.output, server.output
        assert "echobench ready" not in server.output

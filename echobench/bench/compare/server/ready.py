"""Finds out whether a server echoes yet, and which ports are free."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Final

from ....errors import EchobenchError

PATIENCE: Final = 0.5  # seconds per attempt


class WrongEchoError(EchobenchError):
    """Other bytes came back; the message is a sentence."""


def probe(proto: str, host: str, port: int) -> bool:
    """Ask for one echo over tcp, udp or tls; False if there is none yet.

    Raises WrongEchoError.
    """
    sent = b"ready? " + os.urandom(9).hex().encode()
    try:
        got = _ask_udp(host, port, sent) if proto == "udp" else _ask(host, port, sent, proto == "tls")
    except (OSError, ValueError):  # ssl.SSLError is an OSError; an impossible address raises ValueError
        return False
    if got and got != sent:
        raise WrongEchoError(f"it does not echo: {len(sent)} bytes were sent, and {len(got)} other bytes came back")
    return bool(got)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _ask(host: str, port: int, sent: bytes, tls: bool) -> bytes:
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((host, port), PATIENCE))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = stack.enter_context(context.wrap_socket(sock))
        sock.sendall(sent)
        got = b""
        with contextlib.suppress(TimeoutError):
            while len(got) < len(sent) and (data := sock.recv(4096)):
                got += data
        # Half an answer may be a slow one: wait until it is whole, unless it is wrong already.
        return b"" if sent.startswith(got) and got != sent else got


def _ask_udp(host: str, port: int, sent: bytes) -> bytes:
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0]
    with socket.socket(found[0], socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(found[4])
        sock.send(sent)
        return sock.recv(1 << 16)


def free_port(host: str) -> int:
    """Find a port that is free over TCP and UDP. Raises OSError."""
    for _ in range(50):
        with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
            if is_free(host, port, "udp"):
                return port
    raise OSError("no port was free for both TCP and UDP")


def is_free(host: str, port: int, proto: str) -> bool:
    """Tell whether a server could bind a port.

    Connections that linger after a server's end do not hold its port.
    """
    udp = proto == "udp"
    with socket.socket(_family(host), socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as sock:
        if not udp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            if not udp:
                sock.listen(1)
        except OSError:
            return False
    return True

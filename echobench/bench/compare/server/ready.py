"""Finds out whether a server echoes yet, and which ports are free."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Any, Final

from ....errors import EchobenchError

PATIENCE: Final = 0.5  # seconds per attempt


class WrongEchoError(EchobenchError):
    """Other bytes came back; the message is a sentence."""


def probe(proto: str, host: str, port: int, version: int | None = None) -> str | None:
    """Ask for one echo over tcp, udp or tls; return the address that answered, None if there is none yet.

    The addresses of a name are asked in turn, those of one ``version`` of IP if it is given. Raises WrongEchoError.
    """
    sent = b"ready? " + os.urandom(9).hex().encode()
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    family = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}[version]
    wrong = None
    try:
        places = dict.fromkeys((each[0], each[4]) for each in socket.getaddrinfo(host, port, family, kind))
    except (OSError, UnicodeError):
        return None
    for which, where in places:
        try:
            got = _ask_udp(which, where, sent) if proto == "udp" else _ask(which, where, sent, proto == "tls")
        except (OSError, ValueError):  # ssl.SSLError is an OSError; an impossible address raises ValueError
            continue
        if got == sent:
            return _numeric(where)
        if got:
            wrong = WrongEchoError(
                f"it does not echo: {len(sent)} bytes were sent, and {len(got)} other bytes came back"
            )
    if wrong is not None:
        raise wrong
    return None


def _numeric(where: Any) -> str:
    """Write an address of getaddrinfo, with its zone."""
    return socket.getnameinfo(where, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _ask(family: int, where: Any, sent: bytes, tls: bool) -> bytes:
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.settimeout(PATIENCE)
        sock.connect(where)
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


def _ask_udp(family: int, where: Any, sent: bytes) -> bytes:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(where)
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

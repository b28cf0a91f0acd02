"""The UDP checks about source addresses: of answers, and of requests."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from typing import Any, Final

from .mailbox import TRIES, Mailbox, connect, mailbox, same
from .peer import REFUSED, Failed, NotApplicable, Peer, endpoint, reason

LOW_PORTS: Final = (7, 19, 53)
REFUSAL: Final = 0.2
"""Seconds in which this machine reports that a port has no socket."""


def source(peer: Peer) -> str:
    """See which address the answer comes from."""
    with mailbox(peer) as box:
        return _from(box, peer.sockaddr)


def source_other(peer: Peer) -> str:
    """Send to an address of this machine that the server need not know by name."""
    if peer.family != socket.AF_INET or sys.platform != "linux":
        raise NotApplicable("only Linux has more than one loopback address, and of IPv4 only")
    if not peer.local:
        raise NotApplicable("the server is not on this machine")
    to = ("127.0.0.2", peer.port)
    with mailbox(peer) as probe:
        probe.socks[0].connect(to)
        with contextlib.suppress(OSError):
            probe.socks[0].send(b"other")
        probe.wait(REFUSAL, lambda: probe.refused)
        if probe.refused:
            raise NotApplicable("the server is not bound to all addresses: 127.0.0.2 refuses")
    with mailbox(peer) as box:
        try:
            return _from(box, to)
        except Failed as error:
            if not box.answers[box.socks[0]]:
                raise NotApplicable(f"asked at 127.0.0.2: {error}") from None
            raise


def _from(box: Mailbox, to: tuple[Any, ...]) -> str:
    _, came = box.ask(b"from where?", to)
    if _plain(came) != _plain(to):
        raise Failed(f"a datagram to {endpoint(*to[:2])} was answered from {endpoint(*came[:2])}")
    return f"a datagram to {endpoint(*to[:2])} was answered from there"


def _plain(sockaddr: tuple[Any, ...]) -> tuple[bytes, int]:
    host = str(sockaddr[0]).partition("%")[0]  # a link-local address may come with its interface
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host), sockaddr[1]


def connected(peer: Peer) -> str:
    """Send from a socket that takes answers from the peer only."""
    with mailbox(peer) as box:
        sock = box.socks[0]
        connect(peer, sock)
        # macOS allows no address on a connected socket, so box.ask cannot be used.
        for _ in range(TRIES):
            try:
                sock.send(b"connected")
            except REFUSED:
                box.refused = True
            box.wait(peer.timeout / TRIES, lambda: bool(box.answers[sock]) or box.refused)
            if box.answers[sock]:
                same(b"connected", box.answers[sock][0][0])
                return "it got its answer"
    raise Failed(f"{TRIES} datagrams in {peer.timeout:g} s brought no answer from the address that they went to")


def loop_guard(peer: Peer) -> str:
    """Send from the ports of services that answer anything.

    A forger would use this to make two servers answer each other for ever.
    """
    with mailbox(peer) as probe:
        connect(peer, probe.socks[0])
        here = probe.socks[0].getsockname()
    bound: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        for port in LOW_PORTS:
            try:
                bound[port] = stack.enter_context(peer.datagrams((here[0], port, *here[2:])))
            except PermissionError:
                raise NotApplicable("sending from a port below 1024 needs privileges") from None
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise NotApplicable(f"port {port} cannot be sent from: {reason(error)}") from None
        if not bound:
            raise NotApplicable("ports 7, 19 and 53 are in use here")
        box = Mailbox(peer, bound.values())
        for _ in range(TRIES - 1):
            for sock in bound.values():
                if not box.answers[sock]:
                    box.send(sock, b"loop?")
            box.wait(peer.timeout / TRIES, lambda: all(box.answers.values()))
        answered = [str(port) for port, sock in bound.items() if box.answers[sock]]
        silent = [str(port) for port, sock in bound.items() if not box.answers[sock]]
    if not silent:
        return f"datagrams from port {', '.join(answered)} are answered: no guard against loops was seen"
    if not answered:
        return f"datagrams from port {', '.join(silent)} are not answered: the server guards against loops"
    return f"datagrams from port {', '.join(answered)} are answered, from {', '.join(silent)} not"

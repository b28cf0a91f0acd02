"""Sockets from a service manager, and messages to it.

See sd_listen_fds(3) and, for messages such as readiness, sd_notify(3).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from itertools import chain, repeat

import attrs

from ...errors import EchobenchError
from ...sockets import close_all
from ...values import shown

FIRST = 3
"""SD_LISTEN_FDS_START, systemd/sd-daemon.h."""


class InheritedError(EchobenchError, ValueError):
    """Announced sockets that do not exist; the message is one sentence."""


@attrs.frozen
class Inherited:
    """Sockets that a service manager bound for us.

    Those whose FileDescriptorName is ``tls`` serve TLS.
    """

    plain: tuple[socket.socket, ...] = ()
    tls: tuple[socket.socket, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there are any sockets."""
        return bool(self.plain or self.tls)


def inherited_sockets(environ: MutableMapping[str, str] = os.environ, first: int = FIRST) -> Inherited:
    """Take the sockets that the environment names.

    The names are removed from the environment, so that no child takes the sockets too.

    Names may be absent, as they are under systemd-socket-activate (which is why this is not Twisted's ``ListenFDs``).
    Raises InheritedError if the variables make no sense or a descriptor is no socket.
    """
    pid, count = environ.get("LISTEN_PID"), environ.get("LISTEN_FDS")
    if count is None or pid != str(os.getpid()):
        return Inherited()
    names = environ.pop("LISTEN_FDNAMES", "")
    del environ["LISTEN_PID"], environ["LISTEN_FDS"]
    if not re.fullmatch(r"[0-9]{1,18}", count):
        raise InheritedError(f"LISTEN_FDS is {shown(count)}, where the service manager puts a number of sockets")
    plain: list[socket.socket] = []
    tls: list[socket.socket] = []
    # Pair by pair, for the number may be wrong: the first descriptor that is no socket ends it.
    for fd, name in zip(range(first, first + int(count)), chain(names.split(":"), repeat("")), strict=False):
        try:
            os.set_inheritable(fd, False)
            sock = socket.socket(fileno=fd)
        except OSError as error:
            close_all([*plain, *tls])
            raise InheritedError(
                f"descriptor {fd}, which LISTEN_FDS says was handed over, is no socket: {error.strerror}"
            ) from error
        sock.setblocking(False)
        (tls if name == "tls" else plain).append(sock)
    return Inherited(tuple(plain), tuple(tls))


def notify(state: str, environ: MutableMapping[str, str] = os.environ) -> bool:
    """Send a state such as ``READY=1`` to the service manager.

    Returns False if there is none that wants to know, or for a sign of life that has no room: others wait before it.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(state != "WATCHDOG=1")  # a manager that is stuck must not stop the server
            sock.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)
    except OSError:  # nobody listens there, or no descriptor is left; that is no reason to end
        return False
    return True


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often the service manager wants to hear that the program lives, in seconds; None if it does not.

    That is half of its time-out, as sd_watchdog_enabled(3) recommends.
    """
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not re.fullmatch(r"[0-9]{1,18}", microseconds) or not int(microseconds) or pid not in (None, str(os.getpid())):
        return None
    return int(microseconds) / 2e6

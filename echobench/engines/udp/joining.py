"""Datagrams of one flow that came one after the other go back as one message.

To send a datagram is dear for the route, the filters and the queues that it has to be led through, not for its bytes.
Datagrams of equal length to one address can be sent in one message that says where to cut (UDP_SEGMENT, udp(7)): they
are led through together, and are cut up by the device or just before it. Nobody can tell by looking at them. Peers
send in bursts, and so it is often several at a time.

The kernel takes the pieces of a message from wherever they lie (an array of ``struct iovec``), and those of the batch
lie one behind the other in their table. So a run of messages becomes one by three numbers.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from ...kernel.control import SOL_UDP, UDP_SEGMENT, join
from ...kernel.messages import CONTROL, HEADER, NAME, NAME_ROOM, Headers, Messages
from ...kernel.tables import constant
from .sending import NO_TRAIN, Sending, attempt

LONGEST: Final = 1452  # bytes of payload in an Ethernet frame with IPv6; longer ones would be refused there
MOST_BYTES: Final = 65_000  # in one message; UDP takes 65,507
MOST_SKIPPED: Final = 64
_SET: Final = struct.Struct("=QQQQ").pack_into  # of a header: name, namelen, iov, iovlen (kernel/messages.py)


class Joining:
    """Sends what ``messages`` has to send, all datagrams of one length and from one address, in as few messages."""

    def __init__(self, messages: Messages, sending: Sending) -> None:
        count = messages.count
        self._messages, self._sending = messages, sending
        self._headers = Headers(count)
        self._headers.namelen[:] = messages.outgoing.namelen
        self._names: list[int] = messages.outgoing.name.tolist()
        self._iovecs: list[int] = messages.outgoing.iov.tolist()
        self._length = self._most = 0
        self._skip = self._misses = 0

    def prepare(self, length: int, control: bytes) -> None:
        """Learn how long the datagrams are from now on, and what control data they carry."""
        self._length, self._most = length, MOST_BYTES // length if 0 < length <= LONGEST else 0
        control = join([(SOL_UDP, UDP_SEGMENT, length.to_bytes(2, "little"))]) + control
        self._most = self._most if len(control) <= CONTROL else 0
        if self._most:
            headers = self._headers
            headers.control_memory[:] = control.ljust(CONTROL, b"\0") * headers.count
            headers.controllen[:] = constant("Q", len(control), headers.count)

    def send(self, sock: socket.socket, number: int) -> int:
        """Send the first ``number`` messages, and return how many were sent; the others have to go one by one."""
        if not self._most or self._skip:
            self._skip = max(0, self._skip - 1)
            return 0
        starts = self._runs(number)
        if not starts[-1] or 2 * len(starts) > starts[-1]:
            # Each miss in a row makes it look away for twice as long.
            self._skip = min(MOST_SKIPPED, 1 << self._misses)
            self._misses = min(self._misses + 1, 6)
            return 0
        self._misses = 0
        headers, at = self._headers, 0
        while at < len(starts) - 1:
            sent, error = attempt(sock, headers, at, len(starts) - 1 - at)
            if error:
                if error in NO_TRAIN:
                    self._sending.remember(starts[at], self._length)
                break
            at += sent
        return starts[at]

    def _runs(self, number: int) -> list[int]:
        """Make a message of each run, and give the first record of each, and the end.

        A run that would be refused is the end: it and what comes after it have to go one by one.
        """
        names, headers = self._messages.name_memory[: NAME * number], self._headers.memory
        refused = self._sending.refused
        starts: list[int] = []
        start = 0
        # The low bytes of the ports, as many as are left. Those that are equal to the first one, which are taken off in
        # one step, are a run; if they are all of one name, which takes one more.
        ports = names[3::NAME]
        while ports:
            left = ports.lstrip(ports[:1])
            length = len(ports) - len(left)
            at = NAME * start
            name = names[at : at + NAME]
            if length > 1 and not names.startswith(name * length, at):
                # One pair of flows in 256: where the first of them ends has to be looked for.
                length = next(other for other in range(1, length) if not names.startswith(name, at + NAME * other))
                left = ports[length:]
            if length > self._most:
                length, left = self._most, ports[self._most :]
            if refused and self._sending.refuses(start, self._length):
                break
            _SET(headers, HEADER * len(starts), self._names[start], NAME_ROOM, self._iovecs[start], length)
            starts.append(start)
            start += length
            ports = left
        return [*starts, start]

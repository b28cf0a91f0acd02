"""Joins answers to one peer that follow each other into one message, a train.

The cost of sending a datagram is mostly that of the route, the filters and the queues, not that of its bytes. Datagrams
of equal length to one address can be sent as one message that says where to cut it (UDP_SEGMENT, udp(7)). It passes the
route, the filters and the queues once, and the device, or the code just before it, cuts it up. The peer cannot tell the
difference. Peers send in bursts, so there are often several datagrams to join.

The kernel takes the pieces of a message from an array of ``struct iovec``, and the pieces of a batch are neighbours in
one table. So three numbers in a header make one message out of a run of messages.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from ...kernel.control import SOL_UDP, UDP_SEGMENT, join
from ...kernel.messages import CONTROL, HEADER, NAME, NAME_ROOM, Headers, Messages
from ...kernel.tables import constant
from .sending import TRAIN_REFUSED, Sending, attempt

WORTH_JOINING: Final = 8  # messages; in fewer, finding the runs costs as much as joining them saves
LONGEST_PIECE: Final = 1452  # bytes of payload in an Ethernet frame with IPv6; longer ones would be refused there
LONGEST_TRAIN: Final = 65_000  # bytes; UDP takes 65,507
MOST_DOUBLINGS: Final = 6
MOST_SKIPPED: Final = 64  # batches
_SET: Final = struct.Struct("=QQQQ").pack_into  # of a header: name, namelen, iov, iovlen (kernel/messages.py)


class Joining:
    """Joins outgoing messages into trains, and sends them.

    All messages must have one length and one source.
    """

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
        """Prepare for datagrams of this length that carry these control data."""
        self._length, self._most = length, LONGEST_TRAIN // length if 0 < length <= LONGEST_PIECE else 0
        control = join([(SOL_UDP, UDP_SEGMENT, length.to_bytes(2, "little"))]) + control
        self._most = self._most if len(control) <= CONTROL else 0
        if self._most:
            headers = self._headers
            headers.control_memory[:] = control.ljust(CONTROL, b"\0") * headers.count
            headers.controllen[:] = constant("Q", len(control), headers.count)

    def send(self, sock: socket.socket, number: int) -> int:
        """Send the first of ``number`` messages joined, and return how many.

        The others have to be sent one by one.
        """
        if not self._most or self._skip:
            self._skip = max(0, self._skip - 1)
            return 0
        starts = self._runs(number)
        if not starts[-1] or 2 * len(starts) > starts[-1]:
            # Nothing to join. After each miss in a row, skip twice as many batches before looking again.
            self._skip = min(MOST_SKIPPED, 1 << self._misses)
            self._misses = min(self._misses + 1, MOST_DOUBLINGS)
            return 0
        self._misses = 0
        headers, at = self._headers, 0
        while at < len(starts) - 1:
            sent, error = attempt(sock, headers, at, len(starts) - 1 - at)
            if error:
                if error in TRAIN_REFUSED:
                    self._sending.remember(starts[at], self._length)
                break
            at += sent
        return starts[at]

    def _runs(self, number: int) -> list[int]:
        """Make one message of each run to one name; return where the runs begin.

        The result has the first record of each run, and then the end of the last run.

        The runs end before the first one that the kernel would refuse. It and all after it have to be sent one by one.
        """
        names, headers = self._messages.name_memory[: NAME * number], self._headers.memory
        refused = self._sending.refused
        starts: list[int] = []
        start = 0
        # The low bytes of the ports that are left. One step strips those that equal the first byte. They are a run if
        # their whole names are equal too, which one more step checks.
        ports = names[3::NAME]
        while ports:
            left = ports.lstrip(ports[:1])
            length = len(ports) - len(left)
            at = NAME * start
            name = names[at : at + NAME]
            if length > 1 and not names.startswith(name * length, at):
                # Two flows in a row share that byte, as one pair in 256 does: look for the end of the first flow.
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

"""Datagrams in batches: recvmmsg(2) and sendmmsg(2) over tables.

:class:`Headers` is what both calls take: an array of ``struct mmsghdr``. :class:`Messages` has two of them that share
names and payload. What one has received, the other can send back to its sender without copying a byte. Only the
lengths, one column, are copied, and the control messages (kernel/control.py) are turned round.

Large tables cost nothing until they are used, because memory is only touched when a message is received into it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import socket
import sys
from collections.abc import Callable
from typing import Final

from .calls import MSG_DONTWAIT, failure, system_call
from .tables import Table, constant

MSG_CTRUNC: Final = 0x08  # linux/socket.h: the control data were larger than their room

# struct mmsghdr (linux/socket.h, struct user_msghdr and what recvmmsg appends; 64 bytes):
#   u64 name | u32 namelen, 4 unused | u64 iov | u64 iovlen | u64 control | u64 controllen | u32 flags, 4 unused |
#   u32 length, 4 unused
HEADER: Final = 64
FLAGS: Final = 48
LENGTH: Final = 56
# struct iovec (linux/uio.h, 16 bytes): u64 base | u64 length
IOVEC: Final = 16
# struct sockaddr_in6 (linux/in6.h, 28 bytes): u16 family | u16 port | u32 flow label | u8 address[16] | u32 scope
# struct sockaddr_in (linux/in.h, 16 bytes): u16 family | u16 port | u8 address[4] | 8 unused
# Port and address are in network order; the port is at the same offset in both.
NAME: Final = 32
FAMILY: Final = 0 if sys.byteorder == "little" else 1
"""Where the lower byte of the family is in a name. All families that a name may have fit into that byte."""
NAME_ROOM: Final = 28
CONTROL: Final = 128  # UDP_GRO and IPV6_PKTINFO take 24 + 40 (kernel/control.py); as much again is for what others want
ROOM: Final = 65536  # bytes; a datagram has at most 65,527 (IPv6), a train of them in one message at most 65,535
SKEW: Final = 192  # bytes; at a distance of a power of two, all payloads would share the same cache lines


class Headers:
    """An array of ``struct mmsghdr``: names, control data and payload.

    Each message has one piece of payload.

    ``names`` and ``payload`` are tables of ``count`` records, or None if the caller points the headers elsewhere. Each
    column has all records. Slicing a column costs as much as copying it, so make a slice once if it is needed often.
    """

    def __init__(self, count: int, names: Table | None = None, payload: Table | None = None) -> None:
        self.count = count
        self.memory = mmap.mmap(-1, HEADER * count)
        """The headers as bytes, of which a slice is a copy."""
        self.table = Table(HEADER, count, self.memory)
        self.iovecs = Table(IOVEC, count)
        self.control_memory = mmap.mmap(-1, CONTROL * count)
        self.controls = Table(CONTROL, count, self.control_memory)
        self.name = self.table.column("Q", 0)
        self.namelen = self.table.column("I", 8)
        self.iov = self.table.column("Q", 16)
        self.iovlen = self.table.column("Q", 24)
        self.control = self.table.column("Q", 32)
        self.controllen = self.table.column("Q", 40)
        self.flags = self.table.column("I", FLAGS)
        # The kernel writes a u32; read with the four unused bytes after it, which stay 0, it fits an iovec's length.
        self.length = self.table.column("Q", LENGTH)
        self.base = self.iovecs.column("Q", 0)
        self.size = self.iovecs.column("Q", 8)
        self._at = [ctypes.c_void_p(self.table.address_at(i)) for i in range(count)]
        self._first = self._at[0]
        self._receive, self._send = system_call("recvmmsg"), system_call("sendmmsg")
        self._received = 0
        self._parts = [slice(0, HEADER * n) for n in range(count + 1)]  # to make one takes as long as to use it
        for i in range(count):
            self.name[i] = names.address_at(i) if names else 0
            self.base[i] = payload.address_at(i) if payload else 0
            self.iov[i] = self.iovecs.address_at(i)
            self.control[i] = self.controls.address_at(i)
        self.iovlen[:] = constant("Q", 1, count)
        # The length of the longest name. Where the name is a sockaddr_in, the kernel ignores what follows it.
        self.namelen[:] = constant("I", NAME_ROOM, count)
        self.controllen[:] = constant("Q", CONTROL, count)
        if payload:
            self.size[:] = constant("Q", payload.size - SKEW, count)
        self.remember()

    def remember(self, nothing: bool = False) -> None:
        """Remember the headers as they are now.

        :meth:`receive` restores them before it uses them again.

        If neither names nor control data are received, there is ``nothing`` to restore, because the kernel then reads
        no part of a header that it has written. If control data fill their room, it has written what was there before;
        the caller then has :meth:`restore` do it where they did not.
        """
        self._written = not nothing
        new = memoryview(bytes(self.memory))
        self._new = [new[: HEADER * n] for n in range(self.count + 1)]

    def restore(self, first: int, end: int) -> None:
        """Restore the headers of some records."""
        self.memory[HEADER * first : HEADER * end] = self._new[end][HEADER * first :]

    def receive(self, descriptor: int, most: int, first: int = 0) -> int:
        """Receive up to ``most`` waiting messages, from record ``first`` on.

        Returns how many; 0 if none waits.

        The records before ``first`` keep what the last calls received, maybe from other sockets. Raises OSError, which
        may be the error of a datagram that was sent before (recvmmsg(2), BUGS). Then no message is lost.
        """
        written = self._received
        if written > first and self._written:  # the kernel has written into these headers: restore them
            if first:
                self.memory[HEADER * first : HEADER * written] = self._new[written][HEADER * first :]
            else:
                self.memory[self._parts[written]] = self._new[written]
            self._received = first
        received = self._receive(descriptor, self._at[first], most, MSG_DONTWAIT, None)
        if received > 0:
            self._received = first + received
            return received
        if received == 0 or ctypes.get_errno() == errno.EAGAIN:
            return 0
        raise failure("recvmmsg")

    def receiver(self, descriptor: int, most: int) -> Callable[[], int]:
        """Return a call that receives up to ``most`` messages from record 0 on, into the headers as they are.

        It returns what recvmmsg(2) does. :meth:`renew` makes the headers fit, and does so again unless each message so
        far was one, whose control data were as long as those of the first.
        """
        return functools.partial(self._receive, descriptor, self._first, most, MSG_DONTWAIT, None)

    def renew(self, number: int) -> None:
        """Restore the first headers, and have :meth:`receive` do so again."""
        self.restore(0, number)
        self._received = max(self._received, number)

    def sender(self, descriptor: int, first: int, number: int) -> Callable[[], int]:
        """Return :meth:`send` with these arguments, as a call that costs less."""
        return functools.partial(self._send, descriptor, self._at[first], number, MSG_DONTWAIT)

    def alike(self, namelen: int, controllen: int, length: int) -> bytes:
        """Return the headers' bytes for a batch of equal messages.

        Every message has these three values, and no flags.
        """
        memory = bytearray(self._new[-1])
        table = Table(HEADER, self.count, memory)
        table.column("I", 8)[:] = constant("I", namelen, self.count)
        table.column("Q", 40)[:] = constant("Q", controllen, self.count)
        table.column("Q", 56)[:] = constant("Q", length, self.count)
        return bytes(memory)

    def send(self, descriptor: int, first: int, number: int) -> int:
        """Send messages from record ``first`` on; return how many the kernel took.

        ``number`` is how many to send.

        If it took none, returns -1, and ctypes.get_errno() is the error of the first one. If it took some, the next
        call meets the error of the next one.
        """
        return self._send(descriptor, self._at[first], number, MSG_DONTWAIT)


class Messages:
    """``count`` messages, to be received and sent back to their senders.

    Each has up to ``room`` bytes.
    """

    def __init__(self, count: int = 64, room: int = ROOM) -> None:
        self.count = count
        self.name_memory = mmap.mmap(-1, NAME * count)
        self.names = Table(NAME, count, self.name_memory)
        self.payload = Table(room + SKEW, count)
        self.incoming = Headers(count, self.names, self.payload)
        self.outgoing = Headers(count, self.names, self.payload)
        self.outgoing.controllen[:] = constant("Q", 0, count)

    def ports(self, number: int) -> tuple[bytes, bytes]:
        """Copy the high bytes and the low bytes of the first names' ports."""
        end = NAME * number
        return self.name_memory[2:end:NAME], self.name_memory[3:end:NAME]

    def address(self, i: int) -> bytes:
        """Return the address in a name, packed into 16 or 4 bytes."""
        name = self.name_memory[NAME * i : NAME * (i + 1)]
        return name[8:24] if name[FAMILY] == socket.AF_INET6 else name[4:8]

    def peer(self, i: int) -> tuple[bytes, int]:
        """Return the address in a name, and its scope: 0 unless it is link-local."""
        address = self.address(i)
        scope = self.name_memory[NAME * i + 24 : NAME * i + 28] if len(address) == 16 else b""
        return address, int.from_bytes(scope, sys.byteorder)

    def source(self, i: int) -> tuple[str, int]:
        """Return the address in a name, without its scope, and the port."""
        address = self.address(i)
        port = int.from_bytes(self.name_memory[NAME * i + 2 : NAME * i + 4], "big")
        return socket.inet_ntop(socket.AF_INET6 if len(address) == 16 else socket.AF_INET, address), port

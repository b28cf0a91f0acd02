"""The two rings of the mover ``ringed``, and their end when the kernel takes no more requests.

Receives complete on one ring, at any time; sends on the other, which is empty but while a batch is being sent.

When the kernel has no memory for requests, receives are handed over again after a pause. If that lasts, or a ring fails
in any other way, the rings are retired: they get no more requests, receives that are under way go on until they end,
and the poller has all else. The rings are closed when no receive is under way any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...kernel import ring as k
from ...kernel.buffers import LentBuffers
from ...sockets import borrowed
from ..faults import Faults
from .mover import Host
from .ring_trial import BUFFER, BUFFERS, LIMIT, SENDS, Sizes, make_rings

log = Logger()

CANCEL: Final = 1 << 32  # the upper half of a request's user_data, if it is no receive; the lower is a descriptor
SUCCESSOR: Final = "readiness"
"""The engine in whose way this one goes on."""


class Rings:
    """The rings, their lent buffers, and the descriptors that receive.

    ``ended`` is called with a descriptor and a result for each receive that never began, ``forget`` with the number of
    the ring that is about to be closed.
    """

    def __init__(
        self, engine: Host, clock: IReactorTime, *, ended: Callable[[int, int], None], forget: Callable[[int], None]
    ) -> None:
        self.rx: k.Ring
        """Receives complete here."""
        self.tx: k.Ring
        """Sends complete here."""
        self.buffers: LentBuffers
        self.receiving: set[int] = set()
        """Descriptors for which a receive is under way."""
        self.dying: set[int] = set()
        """Descriptors of closed connections, to be closed themselves when that receive has ended."""
        self.retired = False
        """Whether the rings get no more requests."""
        self.pause: IDelayedCall | None = None
        """Will hand over what the kernel did not take."""
        self._engine, self._clock = engine, clock
        self._ended, self._forget = ended, forget
        self._faults = Faults()

    def open(self) -> None:
        """Make the rings, and buffers of which none is lent. Raises OSError."""
        self.rx, self.tx, self.buffers = make_rings(Sizes(sends=SENDS, buffers=BUFFERS), BUFFER)
        # What is the same in every send is written once. MSG_DONTWAIT: O_NONBLOCK is not enough for io_uring, which
        # would wait for room by itself, and sends that wait overtake one another. So each ends inside the call.
        tx = self.tx
        for at in range(tx.size):
            tx.opcode[at], tx.addr[at] = k.OP_SEND, self.buffers.base
            tx.op_flags[at] = k.MSG_NOSIGNAL | k.MSG_DONTWAIT

    def close(self) -> None:
        """Close the rings, if they are open."""
        if not hasattr(self, "buffers"):
            return
        with contextlib.suppress(KeyError, OSError):
            self._forget(self.rx.fd)
        self.rx.close()
        self.tx.close()
        del self.buffers

    def lent(self) -> int:
        """Return how many buffers are lent."""
        return self.buffers.lent if hasattr(self, "buffers") else 0

    def end_pause(self) -> None:
        """Do not wait to hand over again."""
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None

    def takes_requests(self) -> bool:
        """Whether requests may be queued: not while the kernel takes none, nor after the ring has failed."""
        return not self.retired and self.pause is None

    def receive(self, fd: int) -> None:
        """Queue a receive that goes on until something ends it."""
        self.receiving.add(fd)
        self._push(k.OP_RECV, fd, fd, sqe_flags=k.SQE_BUFFER_SELECT, ioprio=k.RECV_MULTISHOT, optlen=LIMIT)

    def cancel(self, fd: int) -> None:
        """End the receive of a descriptor; that of one whose peer does not read ends after LIMIT bytes anyway."""
        if self.retired:
            if fd in self.dying:
                _end_receive(fd)
            return
        self._push(k.OP_ASYNC_CANCEL, -1, CANCEL | fd, addr=fd)
        self.hand_over_outside_a_turn()

    def hand_over_outside_a_turn(self) -> None:
        """Hand over at once what was queued outside a turn.

        The reactor does something else then, and no flush will follow.
        """
        if not self._engine.working and self.takes_requests():
            self.hand_over()

    def hand_over(self) -> None:
        """Hand over what is queued; if the kernel cannot take it now, try again after a pause."""
        try:
            error = self.rx.enter()
        except OSError as failed:
            self.retire(failed)
            return
        if self.rx.queued:
            self._try_again(error)
        elif self._faults.since is not None:
            self._faults.over()

    def bring(self) -> None:
        """Have the kernel bring completions for which there was no room."""
        try:
            error = 0 if self.retired else self.rx.enter()
        except OSError as failed:
            self.retire(failed)
        else:
            if error:
                self._try_again(error)
        if self.retired and self.rx.overflowed():  # they will never come, and what they would bring is lost
            for fd in self.receiving & self._engine.connections.open:
                self._engine.connections.abort(fd)
            self.close()
            self.forget_receives()
            self._engine.descriptor_closed()

    def retire(self, error: Exception, *withdrawn: tuple[int, int]) -> None:
        """Have the poller serve from now on, since the ring fails.

        ``withdrawn`` are requests that could not even be queued.
        """
        if self.retired:
            return
        self.give_up(error)
        self.end_pause()
        for fd, kind in [*self.rx.withdraw(), *withdrawn]:
            if not kind:  # a receive that never was
                self.receiving.discard(fd)
                self._ended(fd, -errno.ECANCELED)
        for fd in self.dying:  # its cancellation may have been among them
            _end_receive(fd)

    def give_up(self, error: Exception) -> None:
        """Make no more requests, and say why."""
        self.retired = True
        log.warn(
            "engine for streams: {name} from now on, since {before} has failed: {error}",
            name=SUCCESSOR,
            before=self._engine.name,
            error=str(error) or type(error).__name__,
            event="ring_retired",
        )
        self._engine.name = SUCCESSOR

    def forget_receives(self) -> None:
        """Close what waits for the end of a receive, of which nobody will tell without a ring."""
        while self.dying:
            os.close(self.dying.pop())
        self.receiving.clear()

    def _push(self, opcode: int, fd: int, user_data: int, **rest: int) -> None:
        try:
            self.rx.push(opcode, fd, user_data, **rest)
        except OSError as error:
            # Make believe that it is queued, so that it is taken back with the others.
            self.retire(error, (user_data & k.U32, user_data >> 32))

    def _try_again(self, error: int) -> None:
        pause = self._faults.again()
        if pause is None:
            self.retire(OSError(error or errno.EAGAIN, os.strerror(error or errno.EAGAIN)))
        elif self.pause is None:
            self.pause = self._clock.callLater(pause, self._pause_is_over)

    def _pause_is_over(self) -> None:
        self.pause = None
        if not self.retired:
            self.hand_over()


def _end_receive(fd: int) -> None:
    """End a receive that cannot be cancelled: it finds an end of file."""
    with borrowed(fd) as sock, contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)

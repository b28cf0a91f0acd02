"""Watching fast engines: every transition of a connection is held against the table, and every turn leaves order."""

from __future__ import annotations

import contextlib
import functools

from echobench.engines.tcp.batches import Batches
from echobench.engines.tcp.connections import Connections
from echobench.engines.tcp.engine import StreamEngine
from echobench.engines.tcp.mover import Lanes
from echobench.engines.tcp.ringed import Ringed
from echobench.engines.tcp.states import BEGIN, GONE, TRANSITIONS, Event, Lane, invariants, state_of
from echobench.kernel.ring import CQE_F_MORE


class Watch:
    """What was seen. ``wrong`` has to stay empty; ``seen`` are the transitions that were made."""

    def __init__(self):
        self.wrong, self.seen, self.turns = [], set(), 0

    def state(self, connections, fd):
        return state_of(fd, connections.open, connections.odd, connections._mover.lanes())

    def step(self, before, event, after):
        if before is GONE or (before == after and event is Event.TAKEN):  # not all was taken
            return
        if event in (Event.HELD, Event.TAKEN, Event.RESUMED) and (after is GONE or after.lane is Lane.DYING):
            return  # it could not be done: then it was closed, and that was noted
        self.seen.add((before, event, after))
        if after not in TRANSITIONS.get(before, {}).get(event, ()):
            self.wrong.append(f"{event.name}: {before} -> {after}")

    def turn(self, engine):
        self.turns += 1
        held = invariants(engine.connections.open, engine.connections.odd, engine.mover.lanes())
        self.wrong += [f"not so: {name}" for name, holds in held.items() if not holds]


@contextlib.contextmanager
def watching(monkeypatch):
    """Watch all fast engines; what was wrong with any of them fails the test at its end."""
    watch = Watch()

    def around(cls, name, event, connections_of):
        original = getattr(cls, name)

        @functools.wraps(original)
        def noted(self, fd, *rest):
            connections = connections_of(self)
            before = watch.state(connections, fd)
            result = original(self, fd, *rest)
            watch.step(before, event, watch.state(connections, fd))
            return result

        monkeypatch.setattr(cls, name, noted)

    own, engines = (lambda self: self), (lambda self: self._engine.connections)
    for name, event in (
        ("hold", Event.HELD),
        ("writable", Event.TAKEN),
        ("end_of_file", Event.PEER_ENDED),
        ("close", Event.CLOSED),
    ):
        around(Connections, name, event, own)
    around(Ringed, "_receive_on", Event.RESUMED, engines)

    admit, leave, go_over, received = Connections.admit, Connections.leave, Ringed._go_over, Batches._received
    turn = StreamEngine.doRead

    def note_admit(self, fd, address):
        admit(self, fd, address)
        if (state := watch.state(self, fd)) not in (BEGIN, GONE):
            watch.wrong.append(f"a new connection is {state}")

    def changes(connections, event, call):
        before = {fd: watch.state(connections, fd) for fd in connections.open}
        call()
        for fd, state in before.items():
            if (after := watch.state(connections, fd)) != state or event is Event.LEFT:
                watch.step(state, event, after)

    def note_received(self, fd, result, flags, number):
        connections, lanes = self._engine.connections, Lanes(self._watched, self._receiving, self._dying)
        before, ends = watch.state(connections, fd), not flags & CQE_F_MORE and fd in lanes.receiving
        dying = fd in lanes.dying
        if ends and not dying:  # a step of its own, before what follows from it
            without = Lanes(lanes.watched, lanes.receiving - {fd}, lanes.dying)
            watch.step(before, Event.RECEIVE_ENDED, state_of(fd, connections.open, connections.odd, without))
        received(self, fd, result, flags, number)
        if ends and dying:
            watch.step(before, Event.RECEIVE_ENDED, watch.state(connections, fd))

    def note_turn(self):
        turn(self)
        watch.turn(self)

    monkeypatch.setattr(Connections, "admit", note_admit)
    monkeypatch.setattr(Connections, "leave", lambda self: changes(self, Event.LEFT, lambda: leave(self)))
    monkeypatch.setattr(
        Ringed,
        "_go_over",
        lambda self, events: changes(self._engine.connections, Event.GOES_OVER, lambda: go_over(self, events)),
    )
    monkeypatch.setattr(Batches, "_received", note_received)
    monkeypatch.setattr(StreamEngine, "doRead", note_turn)
    yield watch
    if watch.wrong:
        raise AssertionError("\n".join(watch.wrong))

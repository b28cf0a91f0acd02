"""What the system is asked about this process, and how often."""

from __future__ import annotations

import time

from rigs.helpers import needs_linux

from echobench.server.metrics import process
from echobench.server.metrics.process import KEPT, Costly, look


def test_what_costs_more_is_asked_for_seldom(monkeypatch):
    now, asked = [100.0], []
    monkeypatch.setattr(process, "_resident", lambda: asked.append(now[0]) or len(asked))
    costly = Costly(lambda: now[0])
    assert costly()[0] == 1
    now[0] += KEPT - 0.1
    assert costly()[0] == 1
    now[0] += 0.2
    assert costly()[0] == 2
    assert len(asked) == 2


def test_the_time_on_a_processor_is_that_of_the_moment():
    before = look().cpu_seconds
    while time.process_time() <= before:
        pass
    assert look().cpu_seconds > before
    assert look(time_only=True).memory is None


@needs_linux
def test_linux_tells_everything():
    import resource

    found = Costly(time.monotonic)()
    assert 1 << 20 < found[0] < 1 << 40
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert found[1] == (None if limit == resource.RLIM_INFINITY else limit)

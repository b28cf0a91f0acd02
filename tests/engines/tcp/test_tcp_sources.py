"""What counts as one source of connections."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from echobench import Caps, Reason
from echobench.engines import Setting

if sys.platform != "win32":
    from echobench.engines.tcp.connections import Connections

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fast engines need a POSIX system")


def test_hosts_of_two_links_have_places_of_their_own():
    from twisted.internet import reactor

    setting = Setting(reactor, caps=Caps(None, 1))
    connections = Connections(setting, SimpleNamespace(begin=lambda fd: None))
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    connections.admit(descriptors[0], ("fe80::1", 5000, 0, 2))
    connections.admit(descriptors[1], ("fe80::1", 5000, 0, 3))
    assert connections.open == set(descriptors[:2])
    connections.admit(descriptors[2], ("fe80::2", 5000, 0, 2))
    assert connections.open == set(descriptors[:2]), "one link is one source"
    assert setting.counters.drops == {Reason.MAX_CONNECTIONS_PER_SOURCE: 1}
    for fd in descriptors[:2]:
        os.close(fd)

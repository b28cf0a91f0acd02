"""Echo with faults on purpose: protocols for the portable engines, imported only if a fault was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from ....injection.flow import Injection
from ....injection.rules import Rule
from ... import Setting
from .datagram import FaultyUDP, faulty_udp
from .stream import FaultyEcho, faulty_echo


def protocols(rules: Sequence[Rule], setting: Setting) -> tuple[type[FaultyEcho], type[FaultyUDP]]:
    """Make the protocols of a service whose answers follow ``rules``, which have their seeds."""
    injection = Injection(rules, setting.counters)
    return faulty_echo(injection), faulty_udp(injection, setting.clock)

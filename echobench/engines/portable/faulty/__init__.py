"""Echo with faults on purpose: protocols for the portable engines, imported only if a fault was asked for."""

from __future__ import annotations

from ....injection.flow import Injection
from ... import Setting
from .datagram import FaultyUDP, faulty_udp
from .stream import FaultyEcho, faulty_echo


def protocols(injection: Injection, setting: Setting) -> tuple[type[FaultyEcho], type[FaultyUDP]]:
    """Make the protocols of a service with these faults."""
    return faulty_echo(injection), faulty_udp(injection, setting.clock)

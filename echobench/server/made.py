"""The engines of a service: which kind of socket is served by which."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from ..engines import DATAGRAM, STREAM, EngineError, IEngine, Setting, choose
from ..engines.portable.engine import PortableDatagram, PortableStream


@attrs.frozen(kw_only=True)
class Wanted:
    """What a service wants of its engines."""

    stream_engine: str
    datagram_engine: str
    stream_protocol: Any
    """Serves streams in place of echo; None is echo."""
    datagram_protocol: Any
    endpoints: bool
    """Whether there are endpoints to serve."""


@attrs.frozen
class Made:
    """The engines, by kind of socket, and those that have more ways to listen than :class:`.IEngine`."""

    engines: dict[str, IEngine]
    secure: PortableStream | None = None
    """Serves TLS."""
    portable: PortableStream | None = None
    """Serves endpoints."""


def make_engines(setting: Setting, kinds: Collection[str], wanted: Wanted) -> Made:
    """Make the engines for sockets of some kinds: ``tcp``, ``udp`` and ``tls``. Raises EngineError."""
    stream, datagram = wanted.stream_protocol, wanted.datagram_protocol
    made: dict[str, IEngine] = {}
    if "tcp" in kinds:
        made["tcp"] = (
            choose(STREAM, wanted.stream_engine, setting) if stream is None else PortableStream(setting, stream)
        )
    if "udp" in kinds:
        made["udp"] = (
            choose(DATAGRAM, wanted.datagram_engine, setting)
            if datagram is None
            else PortableDatagram(setting, datagram)
        )
    if "tls" not in kinds and not wanted.endpoints:
        return Made(made)
    tcp: Any = made.get("tcp")
    portable = tcp if isinstance(tcp, PortableStream) else PortableStream(setting, stream)
    secure = portable
    if setting.batch_sizes is not None:  # its counters are its own, so that TLS is known apart from TCP
        secure = PortableStream(attrs.evolve(setting, counters=setting.part("tls")), stream)
    if "tls" in kinds:
        made["tls"] = secure
    if wanted.endpoints:
        made["endpoint"] = portable
    return Made(made, secure, portable)


def only_portable(argument: str, option: str, engine: str) -> None:
    """Refuse an own protocol on an engine that can only echo. Raises EngineError."""
    if engine not in ("auto", PortableStream.name):
        raise EngineError(
            f"{option}={engine!r} can only echo: with {argument} given, leave {option} out or say {option}='portable'"
        )

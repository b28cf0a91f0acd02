"""Has a slower engine take over from one that has failed, and tells when none can."""

from __future__ import annotations

from socket import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ..engines import DATAGRAM, STREAM, EngineError, IEngine, Replaceable, Setting, choose
from ..engines.forks import FORKS, CloseInChild
from ..errors import EchobenchError
from ..sockets import close_all

log = Logger()


class Succession:
    """Keeps ``engines``, by kind, and their ``ports`` up to date."""

    def __init__(self, engines: dict[str, IEngine], ports: list[tuple[str, IListeningPort]]) -> None:
        self._setting: Setting
        self._engines, self._ports = engines, ports
        self._watchers: list[Deferred[str]] = []
        self._copies: list[CloseInChild] = []

    def begin(self, setting: Setting) -> None:
        """Note what the engines are made with, at each start."""
        self._setting = setting
        self._copies.clear()

    def when_failed(self) -> Deferred[str]:
        """Return a Deferred that fires with a sentence when something can be served no more."""
        watcher: Deferred[str] = Deferred()
        self._watchers.append(watcher)
        return watcher

    def failed(self, sentence: str, engine: Replaceable | None) -> None:
        """Have another engine take over, or tell that something can be served no more."""
        if engine is not None:
            try:
                self._replace(engine, sentence)
            except EngineError as error:  # it says what became of this one, too
                sentence = str(error)
            except (EchobenchError, OSError) as error:
                sentence = f"{sentence}; {error}"
            else:
                return
        log.critical("{sentence}", sentence=sentence, event="service_lost")
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(sentence)

    def keep_from_children(self, kind: str, sock: socket) -> None:
        """Have a forked child close its copy of a UDP socket. Engines for streams do it themselves."""
        if kind == "udp":
            self._copies.append(CloseInChild(sock))
            FORKS.tell(self._copies[-1], self._setting.reactor)

    def _replace(self, failed: Replaceable, why: str) -> None:
        """Give the sockets of an engine to the next slower one that works.

        Raises EngineError, BindError or OSError if there is none; then they are closed.
        """
        serving: dict[str, Any] = self._engines
        kind = next(kind for kind, engine in serving.items() if engine is failed)
        table = STREAM if kind == "tcp" else DATAGRAM
        given = failed.surrender()
        try:
            engine = choose(table, "auto", self._setting, instead_of=failed.name, why=why)
            self._engines[kind] = engine
            while given:
                port, sock = given[0]
                self.keep_from_children(kind, sock)
                replacement = engine.listen(sock)
                self._ports[:] = [(kind, replacement if each is port else each) for kind, each in self._ports]
                del given[0]
        finally:
            close_all(sock for _, sock in given)
            lost = [port for port, _ in given]
            self._ports[:] = [(kind, each) for kind, each in self._ports if each not in lost]

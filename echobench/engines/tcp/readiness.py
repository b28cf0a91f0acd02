"""The engine ``readiness``: TCP by one epoll or kqueue under the reactor."""

from __future__ import annotations

from .engine import StreamKind
from .polled import Polled

ENGINE = StreamKind("readiness", Polled)

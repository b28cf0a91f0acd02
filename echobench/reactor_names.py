"""The reactors that are worth trying on each platform, by name; without Twisted, which takes long to import."""

from __future__ import annotations


def preferred(platform: str) -> tuple[str, ...]:
    """List the reactors worth trying on a platform, the best first.

    The platform is named as in ``sys.platform``.
    """
    if platform.startswith("linux"):
        return ("epoll", "poll", "select")
    if platform == "darwin" or "bsd" in platform or platform.startswith("dragonfly"):
        return ("kqueue", "poll", "select")
    if platform in ("win32", "cygwin"):
        return ("iocp", "select")
    return ("poll", "select")

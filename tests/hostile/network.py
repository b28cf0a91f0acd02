"""Two hosts on one wire, in network namespaces of their own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

NUMBER = itertools.count()


def ip(*arguments: str) -> None:
    """Run ``ip``, which must succeed."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"


@dataclass(frozen=True)
class Host:
    """A network namespace: the way into it, its wire, and its addresses."""

    namespace: str
    wire: str
    ipv4: str
    ipv6: str
    link_local: str

    @property
    def prefix(self) -> list[str]:
        """What comes before a command that runs there."""
        return ["ip", "netns", "exec", self.namespace]

    def ip(self, *arguments: str) -> None:
        """Run ``ip`` there."""
        ip("-n", self.namespace, *arguments)

    def run(self, code: str, *arguments: str, limit: float = 60.0) -> str:
        """Run a piece of Python there, and give what it printed."""
        command = [*self.prefix, sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a piece of Python there, with pipes; the caller ends it."""
        command = [*self.prefix, sys.executable, "-u", "-c", code, *arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Give a server's host, with 10.99.0.1/24 and fd99::1/64, and a client's, with 10.99.0.9 and fd99::9."""
    number = f"{os.getpid()}-{next(NUMBER)}"
    hosts = [
        Host(f"echobench-{kind}-{number}", f"wire-{kind}", f"10.99.0.{last}", f"fd99::{last}", f"fe80::{last}")
        for kind, last in (("s", 1), ("c", 9))
    ]
    made: list[Host] = []
    try:
        for host in hosts:
            _add(host.namespace)
            made.append(host)
        _join(hosts)
        yield hosts[0], hosts[1]
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "delete", host.namespace], capture_output=True)


def _add(namespace: str) -> None:
    done = subprocess.run(["ip", "netns", "add", namespace], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this host gives no network namespace: {done.stderr.strip()}")


def _join(hosts: Sequence[Host]) -> None:
    one, other = hosts
    ip("link", "add", one.wire, "netns", one.namespace, "type", "veth",
       "peer", "name", other.wire, "netns", other.namespace)  # fmt: skip
    for host in hosts:
        host.ip("link", "set", host.wire, "addrgenmode", "none")
        host.ip("addr", "add", f"{host.ipv4}/24", "brd", "10.99.0.255", "dev", host.wire)
        host.ip("addr", "add", f"{host.ipv6}/64", "dev", host.wire, "nodad")
        host.ip("addr", "add", f"{host.link_local}/64", "dev", host.wire, "nodad")
        host.ip("link", "set", host.wire, "up")
        host.ip("link", "set", "lo", "up")

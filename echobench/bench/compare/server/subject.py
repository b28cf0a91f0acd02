"""Subjects: read from the command line, and the ideal, echobench's own server."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Final

import attrs

import echobench

from ....values import shown
from ..analysis.comparison import IDEAL, Subject

RUNS: Final = re.compile(r"(\[[0-9a-fA-F:.%\w]+\]|[^\s{}:/]+)(?::|\s+)([0-9]{1,5})")


def parse(text: str) -> Subject:
    """Read ``name=command with {port}``, or ``name=host:port``. Raises ValueError."""
    name, equals, what = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or not what.strip():
        raise ValueError(f"{shown(text)} is not a subject: write 'name=command with {{port}}', or name=host:port")
    if name == IDEAL:
        raise ValueError(
            f"the name {IDEAL!r} is taken by echobench's own server, which always takes part: choose another"
        )
    if found := RUNS.fullmatch(what.strip()):
        if not 1 <= int(found[2]) <= 65535:
            raise ValueError(f"{name}: a port is a number from 1 to 65535, not {found[2]}")
        return Subject(name=name, address=":".join(found.groups()))
    if "{port}" not in what:
        raise ValueError(f"{name}: its command does not contain {{port}}: put it where the port number belongs")
    try:
        shlex.split(what)
    except ValueError as error:
        raise ValueError(f"{name}: its command cannot be read: {error}") from None
    return Subject(name=name, command=what)


def ideal(workers: int = 1) -> Subject:
    """Give echobench's own server, run by this interpreter, with so many worker processes."""
    more = f" --workers {workers}" if workers > 1 else ""
    start = shlex.join([sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="])
    return Subject(name=IDEAL, command=f"{start} echobench --port {{port}} --interface {{host}}{more}")


def workers_of(subject: Subject) -> int:
    """Give the number of worker processes that a command names, as echobench's own and others do; 1 if it does not."""
    found = re.search(r" --workers[ =]([1-9][0-9]{0,2})\b", subject.command or "")
    return int(found[1]) if found else 1


def ideal_tls(subject: Subject) -> Subject:
    """Give echobench's own server over TLS, where the port is another option."""
    command = (subject.command or "").replace("--port {port}", "--no-tcp --no-udp --tls-port {port}")
    return attrs.evolve(subject, command=f"{command} --certificate {{certificate}}")


def environment(subject: Subject) -> dict[str, str]:
    """Give the environment that makes the ideal this very package; else nothing."""
    if subject.name != IDEAL:
        return {}
    ours = str(Path(echobench.__file__).parent.parent)
    return {"PYTHONPATH": os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])}


def where(address: str) -> tuple[str, int]:
    """Read ``host:port``."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)

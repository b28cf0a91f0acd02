"""What is measured for each chapter of the course: its programs, the broken one first, and what is compared of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from results_page.loads import Load
from results_page.ratios import Run
from results_page.subjects import ROOT, Subject

from . import probes

COURSE = ROOT / "docs" / "examples" / "course"
Probe = Callable[[int, int, Path], Run]


@dataclass(frozen=True)
class Figure:
    """One line of a table: what it says, the name in a run, how it is written, and whether a ratio makes sense."""

    title: str
    key: str
    form: str = ",.0f"
    has_ratio: bool = True


@dataclass(frozen=True)
class Measurement:
    """One thing that is measured of each program: by a load of the driver, or by a probe (port, pid, file)."""

    name: str
    figures: tuple[Figure, ...]
    load: Load | None = None
    probe: Probe | None = None
    transport: str = "tcp"


@dataclass(frozen=True)
class Chapter:
    """The programs of a chapter, by what the table calls them; ratios are to the first."""

    name: str
    programs: dict[str, str]
    measurements: tuple[Measurement, ...]
    server: str | None = None
    """The server, if the programs are not servers but measure one."""

    def subject(self, program: str) -> Subject:
        """Give the server to start for a program."""
        path = COURSE / (self.server or self.programs[program])
        return Subject(program, program, (sys.executable, str(path), "{port}"), path.name, cwd=path.parent)


def _work(title: str, mode: str = "tcp", *options: str) -> Measurement:
    name = " ".join((mode, *options))
    figures = (Figure(f"{title}: echoes per CPU second", "work"),)
    return Measurement(name, figures, Load(name, title, (mode, *options), ""), None, "udp" if mode == "udp" else "tcp")


def _one() -> Measurement:
    return _work("1 client")


def _fifty() -> Measurement:
    return _work("50 clients", "tcp", "-c", "50")


def _large() -> Measurement:
    return _work("8 clients, messages of 1 MiB", "tcp", "-c", "8", "-s", str(1 << 20))


def _idle(clients: int, *figures: Figure) -> Measurement:
    return Measurement(f"crowd {clients}", figures, probe=lambda port, pid, _: probes.crowd(port, pid, clients))


def _hoard() -> Measurement:
    said = Figure("memory for a client that sends 64 MiB and reads nothing, in MiB", "mib", ".1f", has_ratio=False)
    return Measurement("hoard", (said,), probe=lambda port, pid, _: probes.hoard(port, pid))


def _each(clients: str) -> Figure:
    return Figure(f"memory for each of {clients} clients that say nothing, in KiB", "kib_each", ".2f")


def _two(name: str, *measurements: Measurement) -> Chapter:
    programs = {each: f"{name}/{each}" for each in ("server.py", "mended.py")}
    return Chapter(name, programs, measurements)


CHAPTERS = {
    each.name: each
    for each in (
        _two("01-blocking", _one(), _work("1 client at a time, a new connection for each echo", "connect")),
        Chapter(
            "02-threads",
            {
                "server.py": "02-threads/server.py",
                "mended.py": "02-threads/mended.py",
                "chapter 3": "03-reactor/server.py",
            },
            (
                _idle(
                    1000,
                    Figure("of 1,000 clients that say nothing, served", "served", has_ratio=False),
                    Figure("threads then", "threads", has_ratio=False),
                    Figure("memory more, in MiB", "mib", ".1f", has_ratio=False),
                    Figure("memory for each that is served, in KiB", "kib_each", ".2f"),
                    Figure("switches for each that is served", "switches_each", ".1f"),
                ),
                _fifty(),
            ),
        ),
        Chapter(
            "03-reactor",
            {
                "chapter 2": "02-threads/server.py",
                "server.py": "03-reactor/server.py",
                "mended.py": "03-reactor/mended.py",
            },
            (_fifty(), _one()),
        ),
        _two("04-buffers", _hoard(), _fifty(), _large()),
        Chapter(
            "05-twisted",
            {
                "chapter 4": "04-buffers/mended.py",
                "server.py": "05-twisted/server.py",
                "mended.py": "05-twisted/mended.py",
            },
            (_fifty(), _idle(1000, _each("1,000"))),
        ),
        _two("06-endings", _hoard(), _fifty(), _large()),
        _two("07-time", _fifty(), _idle(500, _each("500"))),
        _two(
            "08-deferreds",
            Measurement(
                "promises",
                (Figure("processor time for a line, in µs", "us_each"),),
                probe=lambda port, pid, _: probes.promises(port, pid, 5000),
            ),
            Measurement(
                "stop",
                (
                    Figure("answers of three that came after SIGTERM", "answers", has_ratio=False),
                    Figure("seconds from SIGTERM to the end", "end_s", ".2f", has_ratio=False),
                ),
                probe=lambda port, pid, _: probes.stop(port, pid),
            ),
        ),
        _two("09-datagrams", _work("16 sockets, 12 datagrams each", "udp", "-c", "16", "-w", "12")),
        _two(
            "10-failure",
            _work("20 clients, and room for them", "tcp", "-c", "20"),
            Measurement(
                "full",
                (
                    Figure("60 clients that say nothing: part of a CPU in use", "busy", ".1%", has_ratio=False),
                    Figure("then one of them asks: its p99 in µs", "p99_us"),
                ),
                probe=lambda port, pid, _: probes.full(port, pid, 60, 1.0),
            ),
        ),
        Chapter(
            "11-measuring",
            {"closed.py": "11-measuring/closed.py", "mended.py": "11-measuring/mended.py"},
            (
                Measurement(
                    "ask",
                    (
                        Figure("answers in ten seconds", "answers", has_ratio=False),
                        Figure("p50 in ms", "p50_ms", ".2f"),
                        Figure("p99 in ms", "p99_ms", ".2f"),
                        Figure("processor time of the one that asks for a question, in µs", "us_each"),
                    ),
                    probe=lambda port, _, file: probes.ask(port, file),
                ),
            ),
            server="11-measuring/server.py",
        ),
        _two(
            "12-completion",
            _work("16 sockets, 12 datagrams each", "udp", "-c", "16", "-w", "12"),
            _work("1 socket, 1 datagram", "udp"),
        ),
        _two(
            "13-many-cores",
            _work("8 clients", "tcp", "-c", "8"),
            _work("4 at a time, a new connection for each echo", "connect", "-c", "4"),
        ),
    )
}
"""Messages are of 64 bytes, and each client has one under way, unless a title says otherwise."""

"""The options of ``twistd echobench``, and the service they make.

``twist echobench`` has the same options.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from twisted.python import usage

from ...clocks import make_monotonic
from ...defaults import BACKLOG, CLOSE_TIMEOUT, PORT
from ...engines import DATAGRAM, STREAM
from ...errors import EchobenchError
from ...reactors import install_best_reactor
from ...sockets import is_address
from ...values import INT_MAX, LONGEST, shown
from .early import plain_interrupts, restore_interrupts, restore_when_the_reactor_starts
from .failure import StartupFailure
from .logs import FORMATS, write_json
from .parsing import Parser, address, cpus, file_name, one_of, real, size, spin, whole, workers
from .systemd import Inherited, inherited_sockets

if TYPE_CHECKING:
    from twisted.application.service import IService

    from ..certificate import Files


class OptionError(EchobenchError):
    """Options that do not fit the sockets that the program inherited.

    The message is one sentence.
    """


NUMBER, COUNT = whole(0, 65535), whole(1, INT_MAX)
SECONDS = real(0.001, LONGEST, "a number of seconds")
STEERINGS = ["hash", "cpu"]
STREAM_NAMES, DATAGRAM_NAMES = ["auto", *STREAM], ["auto", *DATAGRAM]


def _parameter(name: str, default: Any, text: str, parse: Parser = str, short: str | None = None) -> list[Any]:
    """Describe an option to twisted.python.usage.

    Its own error message would not name the option.
    """

    def named(value: str) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise usage.UsageError(f"--{name}: {error}") from None

    return [name, short, default, text, named]


class Options(usage.Options):
    """Options of the echo server."""

    synopsis = "[options]"
    longdesc = (
        "Sends back whatever it receives: the echo service of RFC 862, over TCP and UDP, IPv6 and IPv4. "
        "Port 7 needs privilege; to try it out, use another: --port 7007. "
        "Times are in seconds. A limit without a default is off."
    )

    optParameters = [  # noqa: RUF012 (twisted.python.usage reads it from the class)
        _parameter(
            "port", None, f"Port for TCP and UDP; 0 takes one free number for both. [default: {PORT}]", NUMBER, "p"
        ),
        _parameter("tls-port", None, "Also serve TLS on this port; needs --certificate.", NUMBER),
        _parameter("certificate", None, "PEM file with the server's certificate, then its chain.", file_name),
        _parameter(
            "private-key", None, "PEM file with the private key, if the certificate's file has none.", file_name
        ),
        _parameter("max-connections", None, "Refuse connections over this number.", COUNT),
        _parameter(
            "max-connections-per-source",
            None,
            "Refuse connections over this number from one IPv4 address or IPv6 /64.",
            COUNT,
        ),
        _parameter("idle-timeout", None, "End a connection on which no byte moves for this long.", SECONDS),
        _parameter(
            "close-timeout",
            CLOSE_TIMEOUT,
            "End a closing connection whose peer takes nothing for this long; after a stop, end all after this long.",
            SECONDS,
        ),
        _parameter(
            "udp-rate",
            None,
            "Answer this many datagrams per second to one source, and as many in one burst.",
            real(0.001, 1e9, "a number of datagrams per second"),
        ),
        _parameter("receive-buffer", None, "Bytes (256K, 8M) that a UDP socket may queue. [default: 4M or less]", size),
        _parameter("backlog", BACKLOG, "Connections that may wait to be accepted.", COUNT),
        _parameter(
            "defer-accept",
            None,
            "Accept a connection when its first byte has come, or after this many seconds (Linux).",
            COUNT,
        ),
        _parameter("engine", "auto", f"How TCP is served: {', '.join(STREAM_NAMES)}.", one_of(STREAM_NAMES)),
        _parameter("udp-engine", "auto", f"How UDP is served: {', '.join(DATAGRAM_NAMES)}.", one_of(DATAGRAM_NAMES)),
        _parameter(
            "spin", "auto", "How long the fast engines look for more before they wait: auto, off, microseconds.", spin
        ),
        _parameter(
            "workers",
            1,
            "Serve with this many processes, each with sockets of its own; auto is one for each core.",
            workers,
        ),
        _parameter("worker-cpus", None, "Pin each worker to a CPU, in this order; auto is one core each.", cpus),
        _parameter(
            "steer", "hash", f"How the kernel chooses a worker for a packet: {', '.join(STEERINGS)}.", one_of(STEERINGS)
        ),
        _parameter(
            "worker-timeout",
            None,
            "Kill a worker that has not reported for this long, and start another.",
            real(3, LONGEST, "a number of seconds"),
        ),
        _parameter("stats-interval", None, "Log the traffic, and drops by reason, at this interval.", SECONDS),
        _parameter("log-format", "text", "How the log is written.", one_of(FORMATS)),
        _parameter(
            "metrics",
            None,
            "Serve metrics for Prometheus, probes and a live page over HTTP at this address; a number alone is a "
            "port on 127.0.0.1. Needs the extra: pip install 'echobench[metrics]'.",
            address,
        ),
    ]

    optFlags = [  # noqa: RUF012
        ["no-tcp", None, "Do not serve TCP."],
        ["no-udp", None, "Do not serve UDP."],
        ["allow-low-source-ports", None, "Also answer datagrams from ports below 1024, where servers may answer back."],
    ]

    compData = usage.Completions(
        optActions={
            "certificate": usage.CompleteFiles("*.pem", descr="certificate"),
            "private-key": usage.CompleteFiles("*.pem", descr="private key"),
            "interface": usage.Completer(descr="address of this machine"),
            "metrics": usage.Completer(descr="address"),
            "log-format": usage.CompleteList(list(FORMATS)),
            "fault": usage.Completer(descr="item of the grammar, such as udp:drop=1%,seed=7"),
            "engine": usage.CompleteList(STREAM_NAMES),
            "udp-engine": usage.CompleteList(DATAGRAM_NAMES),
            "steer": usage.CompleteList(STEERINGS),
        },
        multiUse=["interface", "fault"],
    )

    def __init__(self) -> None:
        super().__init__()
        self["interface"], self["fault"] = [], []

    def opt_interface(self, address: str) -> None:
        """Listen on this address only; repeatable. :: is all IPv6, 0.0.0.0 all IPv4."""
        bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
        if not is_address(bare):
            raise usage.UsageError(f"--interface: {shown(address)} is not an address such as 127.0.0.1 or ::1")
        self["interface"].append(bare)

    def opt_fault(self, rule: str) -> None:
        """Misbehave on purpose, for tests of clients; repeatable: of several rules the first that fits is followed."""
        from ...injection.rules import FaultError, read_rules

        try:
            read_rules([*self["fault"], rule])
        except FaultError as error:
            raise usage.UsageError(f"--fault: {error}") from None
        self["fault"].append(rule)

    def parseArgs(self, *rest: str) -> None:
        """Refuse arguments: there are only options."""
        if rest:
            raise usage.UsageError(f"{shown(rest[0])} is not an option: is -- or an option's name missing before it?")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; a mistake ends the program with one sentence.

        twistd would print a page of help instead. From here on SIGINT ends the program without a traceback: the
        slow imports are still to come.
        """
        plain_interrupts()
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            restore_interrupts()
            raise StartupFailure(f"{error} (--help lists the options)") from None

    def postOptions(self) -> None:
        """Refuse options that contradict each other, and install the reactor.

        Nothing has imported a reactor yet.
        """
        if self["no-tcp"] and self["no-udp"] and self["tls-port"] is None:
            raise usage.UsageError("--no-tcp and --no-udp leave nothing to serve: drop one, or give a --tls-port")
        if self["tls-port"] is not None and not self["certificate"]:
            raise usage.UsageError("--tls-port needs a --certificate")
        if self["private-key"] and not self["certificate"]:
            raise usage.UsageError("--private-key needs a --certificate to go with it")
        self._check_workers()
        if self["metrics"] is not None and find_spec("prometheus_client") is None:
            raise usage.UsageError(
                "--metrics needs the extra: pip install 'echobench[metrics]' (prometheus_client is not installed)"
            )
        if self["log-format"] == "json":
            write_json(self.parent)
        for name in ("engine", "udp-engine") if self["fault"] else ():
            if self[name] not in ("auto", "portable"):
                raise usage.UsageError(f"--fault needs the portable engine: drop --{name}, or say --{name} portable")
        try:
            install_best_reactor()
        except ImportError as error:
            raise usage.UsageError(str(error)) from error
        from twisted.internet import reactor

        make_monotonic(reactor)  # the process is ours alone
        restore_when_the_reactor_starts()

    def _check_workers(self) -> None:
        """Refuse what only several workers can have, or only one."""
        if self["workers"] == 1:
            for name in ("worker-cpus", "worker-timeout"):
                if self[name] is not None:
                    raise usage.UsageError(f"--{name} needs --workers 2 or more, and there is 1")
            if self["steer"] != "hash":
                raise usage.UsageError("--steer cpu needs --workers 2 or more, and there is 1")


def makeService(options: Mapping[str, Any]) -> IService:
    """Make the program that the options describe.

    Sockets from systemd take the place of the default port.

    Raises StartupFailure for what the user can put right.
    """
    from ..service import EchoService
    from .program import Program  # slow to import (see parseOptions)

    try:
        inherited = inherited_sockets()
        files = _certificate_files(options, inherited)
        port = options.get("port")
        if port is None and not inherited:
            port = PORT
        placing: dict[str, Any] = {
            "port": port,
            "interfaces": options.get("interface") or (),
            "tcp": not options.get("no-tcp"),
            "udp": not options.get("no-udp"),
            "tls_port": options.get("tls-port"),
            "inherited": inherited.plain,
            "inherited_tls": inherited.tls,
            "receive_buffer": options.get("receive-buffer"),
            "backlog": options.get("backlog", BACKLOG),
        }
        serving: dict[str, Any] = {  # a worker gets them as JSON
            "max_connections": options.get("max-connections"),
            "max_connections_per_source": options.get("max-connections-per-source"),
            "idle_timeout": options.get("idle-timeout"),
            "close_timeout": options.get("close-timeout", CLOSE_TIMEOUT),
            "udp_rate": options.get("udp-rate"),
            "allow_low_source_ports": bool(options.get("allow-low-source-ports")),
            "defer_accept": options.get("defer-accept"),
            "engine": options.get("engine", "auto"),
            "udp_engine": options.get("udp-engine", "auto"),
            "spin": options.get("spin", "auto"),
        }
        number = options.get("workers", 1)
        tls_options = _tls_options(files)
        if number == 1:
            echo = EchoService(**placing, **serving, tls_options=tls_options, faults=options.get("fault") or ())
            return Program(echo, options.get("stats-interval"), options.get("metrics"))
        from ..processes.parent import Parent
        from .parent_program import ParentProgram

        faults = _with_seeds(options.get("fault") or ())
        parent = Parent(
            number,
            placing,
            {**serving, "faults": faults},
            files,
            cpus=options.get("worker-cpus"),
            steer=options.get("steer", "hash"),
            timeout=options.get("worker-timeout"),
            faults=faults,
        )
        return ParentProgram(parent, options.get("stats-interval"), options.get("metrics"))
    except EchobenchError as error:  # any other exception is a fault of ours, and shows its traceback
        raise StartupFailure(str(error)) from error


def _with_seeds(rules: Sequence[str]) -> list[str]:
    """Give rules of faults on purpose seeds here, so that all workers have the same."""
    if not rules:
        return []
    from ...injection.rules import read_rules, seeded

    return list(map(str, seeded(read_rules(rules), secrets.randbelow)))


def _certificate_files(options: Mapping[str, Any], inherited: Inherited) -> Files | None:
    """Read the certificate while its key can be read; None without TLS.

    That is before the process gives up its privilege.

    Raises EchobenchError if it cannot be read.
    """
    certificate = options.get("certificate")
    if certificate is None:
        if inherited.tls:
            raise OptionError("systemd hands over a socket named tls: give a --certificate to serve it with")
        return None
    if options.get("tls-port") is None and not inherited.tls:
        raise OptionError("--certificate has no port to serve: give a --tls-port")
    from ..certificate import read_files

    return read_files(certificate, options.get("private-key"))


def _tls_options(files: Files | None) -> Any:
    """Make what TLS is served with. Raises EchobenchError if the certificate cannot be used."""
    if files is None:
        return None
    from ..certificate import certificate_options

    return certificate_options(files)

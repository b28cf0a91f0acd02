"""The options of ``echobench blast``, by section.

The reference in docs/ is made from them.
"""

from __future__ import annotations

from typing import Final

import click

from ..cluster.options import OPTIONS as MACHINES
from ..cluster.options import SECTION
from ..command import CPUS, FAMILIES, HTML, IN_FILE, NUMBER, PNG, PORTS, SECONDS, SIZE, WHOLE
from ..option import Option
from ..run.plan import ARRIVALS, ENGINES


def _flag(name: str, text: str) -> Option:
    return Option([name], is_flag=True, help=text)


SECTIONS: Final[dict[str, tuple[Option, ...]]] = {
    "Where to": (
        Option(["--port", "-p"], type=WHOLE, help="The server's port.  [default: 7]"),
        *FAMILIES,
        _flag("--tcp", "Over TCP. This is the default."),
        _flag("--udp", "Over UDP."),
        _flag("--tls", "Over TLS."),
        Option(["--ca"], type=IN_FILE, help="PEM file with the certificates to trust (TLS)."),
        _flag("--insecure", "Accept any certificate (TLS)."),
        Option(["--server-name"], metavar="NAME", help="The name to ask for, and to expect in the certificate (TLS)."),
    ),
    "The load": (
        Option(
            ["--flows", "--connections", "-c", "flows"],
            type=WHOLE,
            help="How many connections (for UDP: sockets); each has its own source port.  [default: 1]",
        ),
        Option(
            ["--window", "-w"],
            type=WHOLE,
            help="Closed model: how many messages each flow keeps in flight; it sends the next when one is answered. "
            "This is the model without --rate, --flood and --connect.  [default: 1]",
        ),
        Option(
            ["--rate", "-r"],
            type=NUMBER,
            help="Open model: send this many messages per second in all, whether or not the server keeps up.",
        ),
        Option(
            ["--arrivals"],
            type=click.Choice(ARRIVALS),
            help="Open model: send at equal intervals, or at random like many independent clients.  "
            "[default: constant]",
        ),
        _flag("--flood", "Send datagrams as fast as possible, without waiting for answers (UDP)."),
        _flag("--connect", "For each message: connect, send it, wait for the answer, close."),
        Option(
            ["--size", "-s"],
            type=SIZE,
            help="Bytes in a message: 64, or at random from a range, 64-1500, or from a list, 64,512,1400. "
            "K and M are KiB and MiB.  [default: 64]",
        ),
        _flag("--gso", "Hand datagrams to the kernel in trains, which it splits (UDP, Linux)."),
    ),
    "How long": (
        Option(["--duration", "-d"], type=SECONDS, help="How long to measure.  [default: 10]"),
        Option(["--warmup"], type=SECONDS, help="How long to run before measuring.  [default: 1]"),
        Option(["--cooldown"], type=SECONDS, help="How long to run after measuring.  [default: 0.5]"),
        Option(
            ["--count", "-n"],
            type=WHOLE,
            help="Send this many messages in all, without warm-up; --duration is then an upper limit.",
        ),
        Option(
            ["--timeout"],
            type=SECONDS,
            help="How long to wait for each answer, and for the last answers at the end of the run.  [default: 1]",
        ),
    ),
    "From where": (
        Option(
            ["--source", "sources"],
            multiple=True,
            metavar="ADDRESS",
            help="Send from this address of this machine. May be repeated: the flows take turns.",
        ),
        Option(["--source-ports"], type=PORTS, help="Take source ports from this range."),
        Option(
            ["--processes"],
            type=WHOLE,
            help="How many processes share the load, on each machine.  [default: one per CPU of --cpus, else 1]",
        ),
        Option(["--cpus"], type=CPUS, help="Pin the processes to these CPUs: 1, or 1,2-3. Leave others to the server."),
        Option(
            ["--engine"],
            type=click.Choice(ENGINES),
            help="The load generator: columns is fast and needs Linux, portable uses Twisted and runs everywhere, "
            "auto takes the first that works.  [default: auto]",
        ),
        Option(["--seed"], type=WHOLE, help="Seed of random sizes and arrivals.  [default: 1]"),
    ),
    SECTION: MACHINES,
    "Output": (
        Option(
            ["--nic"],
            metavar="INTERFACE",
            help="Show how what comes in over this interface of this machine spreads over receive queues and CPUs.",
        ),
        Option(["--interval"], type=SECONDS, help="How often to show progress.  [default: 1]"),
        Option(["--quiet", "-q"], is_flag=True, help="Show only the result, no progress."),
        Option(
            ["--json"],
            type=click.Path(),
            metavar="FILE",
            help="Store the result as JSON; an existing file is replaced.",
        ),
        Option(
            ["--csv"],
            type=click.Path(),
            metavar="FILE",
            help="Add a line with the main figures; a new file begins with a line of column names.",
        ),
        HTML,
        PNG,
        Option(
            ["--from", "stored"],
            type=IN_FILE,
            help="Repeat the run of a result that --json stored; options given here override it.",
        ),
    ),
}

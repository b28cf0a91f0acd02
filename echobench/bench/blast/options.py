"""The options of ``echobench blast``, by what they are for; the reference in docs/ is made from them."""

from __future__ import annotations

from typing import Final

import click

from ..command import CPUS, HTML, IN_FILE, NUMBER, PNG, PORTS, SECONDS, SIZE, WHOLE
from ..run.plan import ARRIVALS, ENGINES


def _flag(name: str, text: str) -> click.Option:
    return click.Option([name], is_flag=True, help=text)


SECTIONS: Final[dict[str, tuple[click.Option, ...]]] = {
    "Where to": (
        click.Option(["--port", "-p"], type=WHOLE, help="The server's port.  [default: 7]"),
        _flag("--tcp", "Over TCP. This is the default."),
        _flag("--udp", "Over UDP."),
        _flag("--tls", "Over TLS."),
        click.Option(["--ca"], type=IN_FILE, help="PEM file with the certificates that vouch for the server's (TLS)."),
        _flag("--insecure", "Take whatever certificate the server has (TLS)."),
        click.Option(["--server-name"], metavar="NAME", help="The name to ask for and to find in the certificate."),
    ),
    "The load": (
        click.Option(
            ["--flows", "--connections", "-c", "flows"],
            type=WHOLE,
            help="Connections, or for UDP sockets: each has its own source port.  [default: 1]",
        ),
        click.Option(
            ["--window", "-w"],
            type=WHOLE,
            help="Closed model: each flow keeps so many messages under way, and sends the next when one is answered. "
            "This is the model without --rate, --flood or --connect.  [default: 1]",
        ),
        click.Option(
            ["--rate", "-r"],
            type=NUMBER,
            help="Open model: send so many messages a second in all, whether the server keeps up or not.",
        ),
        click.Option(
            ["--arrivals"],
            type=click.Choice(ARRIVALS),
            help="Open model: send at equal distances, or at random like many independent clients.  "
            "[default: constant]",
        ),
        _flag("--flood", "Send datagrams as fast as it goes, and wait for no answer (UDP)."),
        _flag("--connect", "For each message: connect, send it, wait for the answer, close."),
        click.Option(
            ["--size", "-s"],
            type=SIZE,
            help="Bytes in a message: 64, or at random from a range, 64-1500, or from a list, 64,512,1400. "
            "K and M after a number are KiB and MiB.  [default: 64]",
        ),
        _flag("--gso", "Hand datagrams to the kernel in trains, to be cut up there (UDP, Linux)."),
    ),
    "How long": (
        click.Option(["--duration", "-d"], type=SECONDS, help="How long is measured.  [default: 10]"),
        click.Option(["--warmup"], type=SECONDS, help="How long is run before that.  [default: 1]"),
        click.Option(["--cooldown"], type=SECONDS, help="How long is run after that.  [default: 0.5]"),
        click.Option(
            ["--count", "-n"],
            type=WHOLE,
            help="Send so many messages in all, without warm-up; --duration is then the longest that it may take.",
        ),
        click.Option(
            ["--timeout"],
            type=SECONDS,
            help="Count a message as unanswered after so long, and wait for so long at the end.  [default: 1]",
        ),
    ),
    "From where": (
        click.Option(
            ["--source", "sources"],
            multiple=True,
            metavar="ADDRESS",
            help="Send from this address of this machine; several take turns.",
        ),
        click.Option(["--source-ports"], type=PORTS, help="Take the flows' source ports from this range."),
        click.Option(
            ["--processes"],
            type=WHOLE,
            help="How many processes share the load.  [default: one for each of --cpus, else 1]",
        ),
        click.Option(
            ["--cpus"], type=CPUS, help="Keep the processes on these CPUs: 1, or 1,2-3. Leave others to the server."
        ),
        click.Option(
            ["--engine"],
            type=click.Choice(ENGINES),
            help="How the load is made: columns is fast and needs Linux, portable is Twisted and runs everywhere, auto "
            "takes the first that can.  [default: auto]",
        ),
        click.Option(["--seed"], type=WHOLE, help="Where random sizes and arrivals begin.  [default: 1]"),
    ),
    "What is shown and kept": (
        click.Option(["--interval"], type=SECONDS, help="How often to show how it goes.  [default: 1]"),
        click.Option(["--quiet", "-q"], is_flag=True, help="Show only the result, and not how it goes."),
        click.Option(["--json"], type=click.Path(), metavar="FILE", help="Store the result; a file there is replaced."),
        click.Option(
            ["--csv"],
            type=click.Path(),
            metavar="FILE",
            help="Add a line with the main figures; a new file begins with a line of names.",
        ),
        HTML,
        PNG,
        click.Option(
            ["--from", "stored"],
            type=IN_FILE,
            help="Run again what a result that was stored with --json has run; what is given beside it goes before.",
        ),
    ),
}

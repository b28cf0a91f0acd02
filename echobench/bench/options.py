"""The options of ``echobench blast``, by what they are for; the reference in docs/ is made from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from .plan import ARRIVALS, ENGINES

UNITS: Final = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
BYTES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20}


if TYPE_CHECKING:
    Type = click.ParamType[Any]
else:
    Type = click.ParamType  # which is not generic before click 8.4


class Parsed(Type):
    """A type of option that a function reads; it raises ValueError with what is wrong."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it, as click asks for it."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def number(text: str) -> float:
    """Read 1500, 1.5k, 2M."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([kmg]?)", text.lower())
    if not found:
        raise ValueError(f"{text!r} is not a number such as 2500, 10k or 1.5M")
    return float(found[1]) * UNITS[found[2]]


def whole(text: str) -> int:
    """Read 1500, 10k, 1M."""
    value = number(text)
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number such as 50, 10k or 1M")
    return int(value)


def seconds(text: str) -> float:
    """Read 10, 0.5, 10s, 500ms, 2m."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(ms|s|m|)", text.lower())
    if not found:
        raise ValueError(f"{text!r} is not a time such as 10, 0.5, 500ms or 2m; without a unit it is in seconds")
    return float(found[1]) * {"ms": 0.001, "s": 1, "": 1, "m": 60}[found[2]]


def size(text: str) -> str:
    """Read 64, 4K, 64-1500 or 64,512,1400 into bytes; the plan says what can be."""

    def one(match: re.Match[str]) -> str:
        return str(int(match[1]) * BYTES[match[2]])

    wrong = f"{text!r} is not a size in bytes such as 64, 16K, 64-1500 or 64,512,1400"
    if not re.fullmatch(r"[0-9]{1,9}[km]?(-[0-9]{1,9}[km]?|(,[0-9]{1,9}[km]?)*)", text.lower()):
        raise ValueError(wrong)
    return re.sub(r"([0-9]+)([km]?)", one, text.lower())


def cpus(text: str) -> tuple[int, ...]:
    """Read 0, 1,3 or 2-5,7."""
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        if not ends or int(ends[1]) > int(ends[2] or ends[1]):
            raise ValueError(f"{text!r} is not a list of CPUs such as 1 or 1,2-3")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return tuple(dict.fromkeys(found))


def ports(text: str) -> tuple[int, int]:
    """Read 20000-29999, or one port."""
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    if not found:
        raise ValueError(f"{text!r} is not a range of ports such as 20000-29999")
    return int(found[1]), int(found[2] or found[1])


NUMBER, WHOLE = Parsed("number", number), Parsed("number", whole)
SECONDS, SIZE = Parsed("seconds", seconds), Parsed("bytes", size)
CPUS, PORTS = Parsed("list", cpus), Parsed("a-b", ports)
IN_FILE = click.Path(exists=True, dir_okay=False, readable=True)
HTML = click.Option(
    ["--html"],
    type=click.Path(),
    metavar="FILE",
    help="Write the report as one page with charts, for a browser; a file there is replaced.",
)
PNG = click.Option(
    ["--png"],
    type=click.Path(),
    metavar="FILE",
    help="Draw a picture for slides, which needs the extra png (matplotlib); a file there is replaced.",
)


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


class Sectioned(click.Command):
    """A command whose help shows its options by section."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[click.Option]] = SECTIONS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, as click asks for it."""
        for title, options in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])
        with formatter.section("Other"):
            own = self.get_help_option(ctx)
            formatter.write_dl([record] if own and (record := own.get_help_record(ctx)) else [])

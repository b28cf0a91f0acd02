"""What the commands share: option types and common options."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from ..values import shown
from .option import Option

UNITS: Final = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


BYTES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20}


if TYPE_CHECKING:
    Type = click.ParamType[Any]
else:
    Type = click.ParamType  # which is not generic before click 8.4


class Parsed(Type):
    """An option type that a function parses.

    The function raises ValueError with what is wrong.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any],
        complete: Callable[[str], list[CompletionItem]] = lambda incomplete: [],
    ) -> None:
        self.name = name
        self._parse, self._complete = parse, complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the value; click calls this."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Take an environment variable as one value, which may have spaces; click calls this."""
        return [rv]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a value; click calls this for a shell."""
        return self._complete(incomplete)


def number(text: str) -> float:
    """Read 1500, 1.5k, 2M."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([kmg]?)", text.lower())
    if not found:
        raise ValueError(f"{shown(text)} is not a number such as 2500, 10k or 1.5M")
    return float(found[1]) * UNITS[found[2]]


def whole(text: str) -> int:
    """Read 1500, 10k, 1M."""
    value = number(text)
    if value != int(value):
        raise ValueError(f"{shown(text)} is not a whole number such as 50, 10k or 1M")
    return int(value)


def seconds(text: str) -> float:
    """Read 10, 0.5, 10s, 500ms, 2m."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(ms|s|m|)", text.lower())
    if not found:
        raise ValueError(f"{shown(text)} is not a time such as 10, 0.5, 500ms or 2m; without a unit it is in seconds")
    return float(found[1]) * {"ms": 0.001, "s": 1, "": 1, "m": 60}[found[2]]


def size(text: str) -> str:
    """Read 64, 4K, 64-1500 or 64,512,1400 into bytes.

    The plan checks the bounds.
    """

    def one(match: re.Match[str]) -> str:
        return str(int(match[1]) * BYTES[match[2]])

    wrong = f"{shown(text)} is not a size in bytes such as 64, 16K, 64-1500 or 64,512,1400"
    if not re.fullmatch(r"[0-9]{1,9}[km]?(-[0-9]{1,9}[km]?|(,[0-9]{1,9}[km]?)*)", text.lower()):
        raise ValueError(wrong)
    return re.sub(r"([0-9]+)([km]?)", one, text.lower())


def share(text: str) -> float:
    """Read 5%, 5 % or 0.05 as a part of 1."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) *(%?)", text)
    if not found:
        raise ValueError(f"{shown(text)} is not a share such as 5% or 0.05")
    return float(found[1]) / (100 if found[2] else 1)


def cpus(text: str) -> tuple[int, ...]:
    """Read 0, 1,3 or 2-5,7."""
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        if not ends or int(ends[1]) > int(ends[2] or ends[1]):
            raise ValueError(f"{shown(text)} is not a list of CPUs such as 1 or 1,2-3")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return tuple(dict.fromkeys(found))


def ports(text: str) -> tuple[int, int]:
    """Read 20000-29999, or one port."""
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    if not found:
        raise ValueError(f"{shown(text)} is not a range of ports such as 20000-29999")
    return int(found[1]), int(found[2] or found[1])


def place(text: str) -> tuple[str, int | None]:
    """Read host, host:7007, ::1, [::1] or [::1]:7007; the port is None if none is given."""
    found = re.fullmatch(r"\[([^][]+)\](?::([0-9]{1,5}))?", text) or re.fullmatch(
        r"([^][:\s]+)(?::([0-9]{1,5}))?", text
    )
    with contextlib.suppress(ValueError):
        if found is None:
            ipaddress.ip_address(text.partition("%")[0])
            return text, None
    if found is None:
        raise ValueError(f"{text!r} is not a HOST or HOST:PORT such as localhost, 192.0.2.1:7007 or [::1]:7007")
    return found[1], None if found[2] is None else port(found[2])


def port(text: str) -> int:
    """Read a port's number."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"a port is a number from 1 to 65535, not {text}")
    return int(text)


def server(host: str, word: str | None, option: int | None = None) -> tuple[str, int | None]:
    """Give the host and port of a server, given as HOST:PORT, as HOST PORT, or with an option.

    Raises click.UsageError.
    """
    try:
        name, own = place(host)
        given = {each for each in (own, None if word is None else port(word), option) if each is not None}
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if len(given) > 1:
        raise click.UsageError(f"{name} is given with two ports, {' and '.join(map(str, sorted(given)))}: give one")
    return name, given.pop() if given else None


def family(four: bool, six: bool) -> int | None:
    """Give the version of IP that -4 or -6 ask for; None for either."""
    return None if four == six else 4 if four else 6


NUMBER, WHOLE = Parsed("number", number), Parsed("number", whole)


SECONDS, SIZE = Parsed("seconds", seconds), Parsed("bytes", size)


CPUS, PORTS = Parsed("list", cpus), Parsed("a-b", ports)


SHARE = Parsed("share", share)


FAMILIES = (
    Option(["-4", "four"], is_flag=True, help="Over IPv4 only; with -6 over either."),
    Option(["-6", "six"], is_flag=True, help="Over IPv6 only; with -4 over either."),
)


HOST = (
    click.Argument(["host"], required=False, metavar="HOST[:PORT]"),
    click.Argument(["port_word"], required=False, metavar="[PORT]"),
)


IN_FILE = click.Path(exists=True, dir_okay=False, readable=True)


HTML = Option(
    ["--html"],
    type=click.Path(),
    metavar="FILE",
    help="Write the report as one HTML page with charts; an existing file is replaced.",
)


PNG = Option(
    ["--png"],
    type=click.Path(),
    metavar="FILE",
    help="Draw a picture for slides; an existing file is replaced. Needs the extra png.",
)


CSV = Option(
    ["--csv"],
    type=click.Path(),
    metavar="FILE",
    help="Store the results as CSV, one line for each row; an existing file is replaced.",
)


WIDE = Option(["--wide"], is_flag=True, help="Show all figures; the table is then wider than 80 columns.")


MARKDOWN = Option(
    ["--markdown"], is_flag=True, help="Print the table as Markdown, for a pull request, instead of the report."
)

"""Options as definition lists: those of the commands, from click, and those of the server, from Twisted's usage."""

from __future__ import annotations

import inspect
import re
from typing import Any

import click
from twisted.python import usage

from .sources import SECTIONS, Options


def of_command(command: str) -> str:
    """List the options of a command, section by section."""
    return "\n".join(
        (f"### {title}\n\n" if title else "") + "\n".join(map(_option, options))
        for title, options in SECTIONS[command].items()
    )


def _option(option: click.Option) -> str:
    names = sorted((name for name in option.opts if name[0] == "-"), key=lambda name: name.startswith("--"))
    value = "" if option.is_flag else f" `{_placeholder(option)}`"
    return _entry(names, value, option.help or "")


def _placeholder(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    return option.metavar or option.type.name.upper()


def _entry(names: list[str], value: str, text: str) -> str:
    """Write an option as an item of a definition list; what one would type is code in its text."""
    term = ", ".join(f"`{name}`" for name in names)
    text = re.sub(r"(?<![\w-])(--[a-z][a-z-]*)", r"`\1`", text)
    text = re.sub(r"('\w+=[^']+'|\{\w+\}|(?<!\w)::|0\.0\.0\.0)", r"`\1`", text)
    return f"{term}{value}\n: {re.sub(r' +', ' ', text)}\n"


def server_options() -> dict[str, str]:
    """Describe each option of the server, by its name."""
    found = {}
    for name, short, default, help_, parse in Options.optParameters:
        text, bracket, said = help_.partition(" [default: ")  # by hand where it is not one value
        given = f"{bracket}{said}" if default is None else f" [default: {default}]"
        found[name] = _entry(_names(name, short), " `VALUE`", f"{text} Takes {_takes(name, parse)}.{given}")
    for name, short, text in Options.optFlags:
        found[name] = _entry(_names(name, short), "", text)
    for method, function in vars(Options).items():
        if method.startswith("opt_"):
            name = method.removeprefix("opt_").replace("_", "-")
            said = f"{inspect.getdoc(function)} Takes {_completed(name)}."
            found[name] = _entry([f"--{name}"], " `VALUE`", said)
    return found


def of_server(*names: str) -> str:
    """List some options of the server."""
    found = server_options()
    return "\n".join(found[name] for name in names)


def _names(name: str, short: str | None) -> list[str]:
    return [*([f"-{short}"] if short else []), f"--{name}"]


def _takes(name: str, parse: Any) -> str:
    """Say what values an option takes, in the words in which its parser refuses one that it does not take."""
    try:
        parse("?")
    except usage.UsageError as error:
        found = re.search(r"'\?' (?:is not (.+)|here: choose (.+))", str(error))
        if found is None:
            raise ValueError(f"what --{name} takes cannot be read from {str(error)!r}") from error
        return (found[1] or found[2]).replace(", nor ", ", or ")
    return _completed(name)


def _completed(name: str) -> str:
    """Say it in the words of a shell's completion, where any text will do for the parser."""
    completer = Options.compData.optActions[name]
    return "a file's name" if isinstance(completer, usage.CompleteFiles) else f"an {completer._descr}"

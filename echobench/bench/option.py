"""Options and commands as click has them, with an environment variable for each option, -h, and help by section."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from click.core import ParameterSource

PREFIX: Final = "ECHOBENCH"
"""Environment variables of options begin with it: ECHOBENCH_BLAST_RATE is --rate of blast."""

SETTINGS: Final = {"help_option_names": ["-h", "--help"]}
"""Context settings of all commands."""


class Option(click.Option):
    """An option that an environment variable can give as well.

    The variable is named after the option as it is written: click's own would show the names of our variables.
    """

    @property
    def written(self) -> str:
        """The option as it is written in sentences: in its long form, if it has one."""
        return next((each for each in self.opts if each.startswith("--")), self.opts[0])

    def variable(self, prefix: str) -> str:
        """Give the name of its environment variable; ``prefix`` is the command's."""
        return f"{prefix}_{self.written.lstrip('-').replace('-', '_').upper()}"

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Read the environment variable; click calls this."""
        if ctx.auto_envvar_prefix is None or not self.allow_from_autoenv:
            return None
        return os.environ.get(self.variable(ctx.auto_envvar_prefix)) or None

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the option, and the variable if that has its value; click calls this."""
        hint = super().get_error_hint(ctx)
        if ctx is None or ctx.auto_envvar_prefix is None or not _from_environment(ctx, self):
            return hint
        return f"{hint} ({self.variable(ctx.auto_envvar_prefix)})"


def _from_environment(ctx: click.Context, option: Option) -> bool:
    return ctx.get_parameter_source(option.name or "") is ParameterSource.ENVIRONMENT


def said(name: str) -> str:
    """Write an option of the running command as its user gave it: ``--rate``, or its environment variable.

    ``name`` is that of its value among the arguments of the command's callback.
    """
    ctx = click.get_current_context(silent=True)
    params = ctx.command.params if ctx is not None else []
    option = next((each for each in params if isinstance(each, Option) and each.name == name), None)
    if ctx is None or option is None:
        return f"--{name.replace('_', '-')}"
    if ctx.auto_envvar_prefix is not None and _from_environment(ctx, option):
        return f"{option.variable(ctx.auto_envvar_prefix)} (for {option.written})"
    return option.written


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options that were given: those that have a value, and flags that are set."""
    return {name: value for name, value in options.items() if value is not None and value is not False and value != ()}


def exclude(options: Mapping[str, Any], *names: str) -> None:
    """Refuse two of these options together. Raises click.UsageError."""
    found = [name for name in names if name in given(options)]
    if len(found) > 1:
        raise click.UsageError(f"{said(found[0])} and {said(found[1])} exclude each other: choose one")


class Command(click.Command):
    """A command whose options can come from environment variables; one that names no option is an error."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, context_settings=dict(SETTINGS), **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments and look for misspelt variables; click calls this. Raises click.UsageError."""
        rest = super().parse_args(ctx, args)
        prefix = ctx.auto_envvar_prefix
        if prefix is not None and not ctx.resilient_parsing:
            known = {each.variable(prefix) for each in self.params if isinstance(each, Option)}
            for name in sorted(os.environ):
                if name.startswith(f"{prefix}_") and name not in known:
                    raise click.UsageError(f"the environment variable {name} names no option of {self.name}: unset it")
        return rest


class Sectioned(Command):
    """A command whose help lists its options by section."""

    def __init__(self, name: str, sections: Mapping[str, Sequence[Option]], **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options; click calls this."""
        for title, options in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])
        with formatter.section("Other"):
            own = self.get_help_option(ctx)
            formatter.write_dl([record] if own and (record := own.get_help_record(ctx)) else [])

"""The ``echobench`` command."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """Measure echo servers (RFC 862)."""

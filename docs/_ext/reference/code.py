"""For readers of the code: files by their first lines, and the states of a connection."""

from __future__ import annotations

import ast

from .sources import GONE, PACKAGE, TRANSITIONS, State


def files(folder: str) -> str:
    """List the modules below a folder of the package with the first lines of their docstrings; ``.`` is the top."""
    found = sorted(PACKAGE.glob("*.py") if folder == "." else (PACKAGE / folder).rglob("*.py"))
    rows = []
    for path in sorted(found, key=lambda path: (path.parent, path.name)):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        rows.append(f"| `{path.relative_to(PACKAGE)}` | {text.splitlines()[0].replace('``', '`')} |\n")
    return "| file | purpose |\n|---|---|\n" + "".join(rows)


def states() -> str:
    """List all transitions of a connection of the fast TCP engine."""
    rows = []
    for before, events in TRANSITIONS.items():
        after = "; ".join(f"{event.name} → {' or '.join(map(_name, ends))}" for event, ends in events.items())
        rows.append(f"| {_name(before)} | {after} |\n")
    return "| state | events, and the state after each |\n|---|---|\n" + "".join(rows)


def _name(state: State | None) -> str:
    return "*gone*" if state is GONE else f"{state.lane.value}, {state.mode.value}"

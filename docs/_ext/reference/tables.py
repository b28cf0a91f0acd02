"""The smaller tables: loads that have names, reasons of drops, faults on purpose, and the clauses of verify."""

from __future__ import annotations

import ast
import enum
import inspect

from .sources import CLAUSES, FAULTS, PROFILES, Reason

FLAGS = {"flows": "--flows", "window": "--window", "size": "--size", "rate": "--rate", "arrivals": "--arrivals"}


def loads() -> str:
    """List the loads that have names, each with the options of blast that it stands for."""
    rows = []
    for name, (fields, text) in PROFILES.items():
        words = [f"--{fields['transport']}"] if "transport" in fields else []
        words += ["--connect"] if fields.get("model") == "connect" else []
        words += [f"{flag} {fields[field]}" for field, flag in FLAGS.items() if field in fields]
        words += [f"--{field}" for field in ("gso", "insecure") if fields.get(field)]
        rows.append(f"| `{name}` | `{' '.join(words).replace('.0', '')}` | {text.replace('{proto}', '`{proto}`')} |\n")
    return "| load | options of blast | meaning |\n|---|---|---|\n" + "".join(rows)


def reasons() -> str:
    """List the reasons for which something is refused, dropped or ended."""
    rows = [f"| `{Reason[name].value}` | {text} |\n" for name, text in members(Reason).items()]
    return "| reason | what is counted |\n|---|---|\n" + "".join(rows)


def faults() -> str:
    """List the faults on purpose, and what is counted under each name."""
    rows = []
    for name, kind in FAULTS.items():
        streams = " Streams only." if kind.streams_only else ""
        rows.append(f"| `{name}={kind.example}` | {kind.meaning}{streams} | {kind.counted} |\n")
    return "| fault | meaning | counted |\n|---|---|---|\n" + "".join(rows)


def members(kind: type[enum.Enum]) -> dict[str, str]:
    """Give the docstring of each member of an enumeration: the text that follows it in the source."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    found = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)):
                raise ValueError(f"{kind.__name__}.{node.targets[0].id} has no docstring")
            found[node.targets[0].id] = inspect.cleandoc(following.value.value).replace("\n", " ")
    return found


def clauses(transport: str) -> str:
    """List what verify checks over a transport: in bold what ``--essential`` does, in italics what is not required."""
    rows = []
    for each in CLAUSES:
        if each.transport == transport:
            mark = "**" if each.essential else "" if each.required else "*"
            rows.append(f"| {mark}`{each.id}`{mark} | {each.title} | {each.basis} |\n")
    return "| clause | requirement | source |\n|---|---|---|\n" + "".join(rows)

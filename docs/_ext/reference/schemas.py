"""The fields of stored files as tables, one for each object, from the JSON schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .sources import schema

Field = dict[str, Any]


def fields(command: str) -> str:
    """Describe all fields of what a command stores."""
    whole = schema(command)
    parts = [_table(whole)]
    for path, field in _objects(whole):
        parts.append(f"### `{path}` of {command}\n\n{field['description']}\n\n{_table(field.get('items', field))}")
    for name, field in whole.get("$defs", {}).items():
        parts.append(f"### A {name}\n\n{field['description']}\n\n{_table(field)}")
        for path, each in _objects(field):
            inner = each.get("items", each)
            parts.append(f"### `{path}` of a {name}\n\n{each['description']}\n\n{_table(inner)}")
    return "\n".join(parts)


def _objects(field: Field, path: str = "") -> Iterator[tuple[str, Field]]:
    """Find the fields that are objects of known fields, or lists of such."""
    for name, each in field["properties"].items():
        inner = each.get("items", each)
        if "properties" in inner:
            yield f"{path}{name}", each
            yield from _objects(inner, f"{path}{name}.")


def _table(field: Field) -> str:
    rows = [f"| `{name}` | {_kind(each)} | {_words(each)} |\n" for name, each in field["properties"].items()]
    return "| field | type | meaning |\n|---|---|---|\n" + "".join(rows)


def _kind(field: Field) -> str:
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2].replace("#", "a result like this one")
    if "anyOf" in field:
        return " or ".join(map(_kind, field["anyOf"]))
    types = field.get("type", "string")  # a constant
    return " or ".join([types] if isinstance(types, str) else types)


def _words(field: Field) -> str:
    values = [value for value in field.get("enum", ()) if f"`{value}`" not in field["description"]]
    said = f" One of {', '.join(f'`{value}`' for value in field['enum'])}." if values else ""
    return field["description"].replace("|", r"\|") + said

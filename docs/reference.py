"""Writes the pages of options from the commands' own options, and docs/result-schema.md from the schema's words.

python docs/reference.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from echobench import bench
from echobench.bench.options import SECTIONS
from echobench.bench.sweep_options import SWEEP_SECTIONS

HERE = Path(__file__).parent
SCHEMA = Path(bench.__file__).parent / "result.schema.json"
SWEEP_SCHEMA = Path(bench.__file__).parent / "sweep.schema.json"

OPTIONS_HEAD = """\
# Options of blast

```text
echobench blast [OPTIONS] HOST
```

`HOST` is a name, or an address of IPv4 or IPv6.
Numbers may be written `10k` or `1.5M`, and times as `10`, `0.5`, `500ms` or `2m`; without a unit they are in seconds.
What the figures mean is in [](blast.md).

The exit status is 0 if all went well;
1 if the run failed (no connection, nothing answered, connections lost, messages refused)
or wrong bytes came back; 2 if the options are wrong.
Datagrams that are lost are shown, and are no failure.
"""

SWEEP_HEAD = """\
# Options of sweep

```text
echobench sweep --limit LIMITS [OPTIONS] HOST
```

`HOST` is a name, or an address of IPv4 or IPv6.
Numbers may be written `10k` or `1.5M`, and times as `10`, `0.5`, `500ms` or `2m`; without a unit they are in seconds.
How the search works and what the answer means is in [](sweep.md).

The exit status is 0 if a rate was found that held;
1 if not even the lowest one did, or the sweep failed or was ended early; 2 if the options are wrong.
"""

SCHEMA_HEAD = """\
# What a stored result holds

`echobench blast --json FILE` stores a result as JSON, of which this page is the reference;
`echobench/bench/result.schema.json` in the package says the same to programs.
The field `schema` names the version. A version of echobench reads the results of its own schema, and says so of others.

Times are in nanoseconds where it is not said otherwise, and rates are messages a second over the measured window.
"""


SWEEP_SCHEMA_HEAD = """\
# What a stored sweep holds

`echobench sweep --json FILE` stores a sweep as JSON, of which this page is the reference;
`echobench/bench/sweep.schema.json` in the package says the same to programs.
The field `schema` names the version.
The `result` of each step is a whole result of blast: [](result-schema.md).
"""


def options(head: str = OPTIONS_HEAD, sections: dict[str, tuple[click.Option, ...]] = SECTIONS) -> str:
    """Make a page of options."""
    parts = [head]
    for title, entries in sections.items():
        parts.append(f"\n## {title}\n")
        for option in entries:
            names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=lambda name: name.startswith("--")))
            value = "" if option.is_flag else f" `{placeholder(option)}`"
            text = re.sub(r"(?<![\w-])(--[a-z-]+)", r"`\1`", option.help or "").replace("  [default: ", " [default: ")
            parts.append(f"\n{names}{value}\n: {text}\n")
    return "".join(parts)


def sweep_options() -> str:
    """Make the page of the options of sweep."""
    return options(SWEEP_HEAD, SWEEP_SECTIONS)


def placeholder(option: click.Option) -> str:
    """Say what an option takes."""
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    return option.metavar or option.type.name.upper()


def schema(head: str = SCHEMA_HEAD, path: Path = SCHEMA) -> str:
    """Make the page of a schema's fields."""
    whole = json.loads(path.read_text())
    sections: list[tuple[str, dict[str, Any]]] = [("The whole", whole)]
    for name, field in whole["properties"].items():
        inner = field.get("items", field)
        if "properties" in inner:
            sections.append((f"`{name}`", {**inner, "description": field["description"]}))
    if "histogram" in whole.get("$defs", {}):
        sections.append(("A histogram", whole["$defs"]["histogram"]))
    parts = [head]
    for title, field in sections:
        parts.append(f"\n## {title}\n\n{field['description']}\n\n| field | type | |\n|---|---|---|\n")
        for name, each in field["properties"].items():
            parts.append(f"| `{name}` | {kind(each)} | {each['description']} |\n")
    return "".join(parts)


def sweep_schema() -> str:
    """Make the page of a sweep's fields."""
    return schema(SWEEP_SCHEMA_HEAD, SWEEP_SCHEMA)


def kind(field: dict[str, Any]) -> str:
    """Say a field's type in words."""
    if "$ref" in field:
        return "histogram"
    if "const" in field:
        return "string"
    types = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(types)


PAGES = {
    "blast-options.md": options,
    "sweep-options.md": sweep_options,
    "result-schema.md": schema,
    "sweep-schema.md": sweep_schema,
}


def main() -> None:
    for name, make in PAGES.items():
        (HERE / name).write_text(make())


if __name__ == "__main__":
    main()

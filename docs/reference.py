"""Writes the pages of reference from the commands' own options, the clauses of verify and the words of the schemas.

python docs/reference.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from echobench import bench
from echobench.bench.blast.options import SECTIONS
from echobench.bench.compare import options as compare_options
from echobench.bench.compare.profiles import PROFILES
from echobench.bench.sweep.options import SWEEP_SECTIONS
from echobench.bench.verify.clauses import CLAUSES
from echobench.bench.verify.command import OPTIONS

HERE = Path(__file__).parent
SCHEMA = Path(bench.__file__).parent / "run" / "result.schema.json"
COMPARISON = Path(bench.__file__).parent / "compare" / "analysis" / "comparison.schema.json"
SWEEP_SCHEMA = Path(bench.__file__).parent / "sweep" / "sweep.schema.json"
VERIFICATION = Path(bench.__file__).parent / "verify" / "verification.schema.json"

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

SCHEMA_HEAD = """\
# What a stored result holds

`echobench blast --json FILE` stores a result as JSON, of which this page is the reference;
`echobench/bench/run/result.schema.json` in the package says the same to programs.
The field `schema` names the version. A version of echobench reads the results of its own schema, and says so of others.

Times are in nanoseconds where it is not said otherwise, and rates are messages a second over the measured window.
"""

SWEEP_HEAD = """\
# Options of sweep

```text
echobench sweep --limit LIMITS [OPTIONS] HOST
echobench sweep --from FILE [OPTIONS] [HOST]
```

`HOST` is a name, or an address of IPv4 or IPv6.
Numbers may be written `10k` or `1.5M`, and times as `10`, `0.5`, `500ms` or `2m`; without a unit they are in seconds.
How the search works and what the answer means is in [](sweep.md).

The exit status is 0 if a rate was found that held;
1 if not even the lowest one did, or the sweep failed or was ended early; 2 if the options are wrong.
"""

SWEEP_SCHEMA_HEAD = """\
# What a stored sweep holds

`echobench sweep --json FILE` stores a sweep as JSON, of which this page is the reference;
`echobench/bench/sweep/sweep.schema.json` in the package says the same to programs.
The field `schema` names the version.
The `result` of each step is a whole result of blast: [](result-schema.md).
"""

VERIFY_HEAD = """\
# Reference of verify

```text
echobench verify [OPTIONS] HOST[:PORT]
```

What the verdicts mean, and how to use the command, is in [](verify.md).

## Options
"""

CLAUSES_HEAD = """
## Clauses

All but the last are required. With `--essential` only those in bold are tried.
"""

STORED_HEAD = """
## What is stored

`--json FILE` stores what was seen, of which this is the reference;
`echobench/bench/verify/verification.schema.json` in the package says the same to programs.
"""

COMPARE_HEAD = """\
# Options and loads of compare

```text
echobench compare [OPTIONS] ['NAME=COMMAND' | NAME=HOST:PORT]...
echobench compare [OPTIONS] --against FILE.json
echobench compare FILE.json...
```

In a command `{port}` is replaced by the number that the server is to serve, which it has to have, and `{host}`,
`{proto}` (tcp, udp or tls) and `{certificate}` (a PEM file with a key, for TLS) where they are.
A command is split into words as a shell does it, but no shell runs it: write `sh -c '...'` if you need one.
What the verdicts mean is in [](compare.md).

The exit status is 0 if all went well; 1 if all subjects failed, or our own server,
or if `--against` found something slower; 2 if the options are wrong; 3 if `--against` cannot tell;
130 if Ctrl-C ended it.
"""

PROFILES_HEAD = """
## Loads that have names

Each is a set of blast's settings; what it does not say is blast's default, with `--duration` and `--warmup` of compare.

| name | options of blast | |
|---|---|---|
"""

COMPARISON_HEAD = """\
# What a stored comparison holds

`echobench compare --json FILE` stores a comparison as JSON, of which this page is the reference;
`echobench/bench/compare/analysis/comparison.schema.json` in the package says the same to programs.
The field `schema` names the version. A version of echobench reads the comparisons of its own schema.

The results in `runs` are whole results of blast, with their histograms ([](result-schema.md)).
The field `rows` is computed from the runs, and for readers only: echobench judges anew whenever it reads a file.
"""

FLAGS = {"flows": "--flows", "window": "--window", "size": "--size", "rate": "--rate", "arrivals": "--arrivals"}


def compare_page() -> str:
    """Make the page of compare's options and loads."""
    return options(COMPARE_HEAD, compare_options.SECTIONS) + PROFILES_HEAD + "".join(map(profile, PROFILES))


def profile(name: str) -> str:
    """Make a load's line."""
    fields, text = PROFILES[name]
    words = [f"--{fields['transport']}"] if "transport" in fields else []
    words += ["--connect"] if fields.get("model") == "connect" else []
    words += [f"{flag} {fields[field]}" for field, flag in FLAGS.items() if field in fields]
    words += [f"--{field}" for field in ("gso", "insecure") if fields.get(field)]
    return f"| `{name}` | `{' '.join(words).replace('.0', '')}` | {text} |\n"


def comparison() -> str:
    """Make the page of a comparison's fields."""
    whole = json.loads(COMPARISON.read_text())
    sections: list[tuple[str, dict[str, Any]]] = [("The whole", whole)]
    for name, field in whole["properties"].items():
        if "properties" in (inner := field.get("items", field)):
            sections.append((f"`{name}`", {**inner, "description": field["description"]}))
    sections.append(("`usage` of a run", whole["properties"]["runs"]["items"]["properties"]["usage"]))
    return COMPARISON_HEAD + "".join(table(f"## {title}", field) for title, field in sections)


def options(head: str = OPTIONS_HEAD, sections: Mapping[str, Sequence[click.Option]] = SECTIONS) -> str:
    """Make a page of options."""
    parts = [head]
    for title, entries in sections.items():
        parts.append(f"\n## {title}\n")
        parts += [entry(option) for option in entries]
    return "".join(parts)


def entry(option: click.Option) -> str:
    """Describe an option."""
    names = ", ".join(
        f"`{name}`" for name in sorted(option.opts, key=lambda name: name.startswith("--")) if name[0] == "-"
    )
    value = "" if option.is_flag else f" `{placeholder(option)}`"
    text = re.sub(r"(?<![\w-])(--[a-z-]+)", r"`\1`", option.help or "").replace("  [default: ", " [default: ")
    return f"\n{names}{value}\n: {text}\n"


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
    return head + "".join(table(f"## {title}", field) for title, field in sections)


def sweep_options() -> str:
    """Make the page of the options of sweep."""
    return options(SWEEP_HEAD, SWEEP_SECTIONS)


def sweep_schema() -> str:
    """Make the page of a sweep's fields."""
    return schema(SWEEP_SCHEMA_HEAD, SWEEP_SCHEMA)


def table(heading: str, field: dict[str, Any]) -> str:
    """Describe the fields of an object."""
    rows = [f"| `{name}` | {kind(each)} | {each['description']} |\n" for name, each in field["properties"].items()]
    return f"\n{heading}\n\n{field['description']}\n\n| field | type | |\n|---|---|---|\n{''.join(rows)}"


def verify() -> str:
    """Make the page of verify."""
    parts = [VERIFY_HEAD, *map(entry, OPTIONS), CLAUSES_HEAD]
    for transport in ("tcp", "udp"):
        parts.append(f"\n### Over {transport.upper()}\n\n| clause | what is asked | by |\n|---|---|---|\n")
        for each in CLAUSES:
            if each.transport == transport:
                name = f"**`{each.id}`**" if each.essential else f"`{each.id}`"
                parts.append(f"| {name} | {each.title} | {each.basis} |\n")
    whole = json.loads(VERIFICATION.read_text())
    outcome, counts = whole["properties"]["outcomes"], whole["properties"]["counts"]
    parts += [STORED_HEAD, table("### The whole", whole), table("### `counts`", counts)]
    parts.append(table("### `outcomes`", {**outcome["items"], "description": outcome["description"]}))
    return "".join(parts)


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
    "result-schema.md": schema,
    "compare-options.md": compare_page,
    "comparison-schema.md": comparison,
    "sweep-options.md": sweep_options,
    "sweep-schema.md": sweep_schema,
    "verify-reference.md": verify,
}


def main() -> None:
    for name, make in PAGES.items():
        (HERE / name).write_text(make())


if __name__ == "__main__":
    main()

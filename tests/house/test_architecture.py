"""The house: which floor may import which, how long the lesson is, and what the package shows to the world."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest
from rigs.places import ROOT

import echobench

PACKAGE = Path(echobench.__file__).parent

GROUND = {
    "protocol", "guard", "counters", "reactors", "sockets", "queues", "groups", "acceptor", "clocks", "silence",
    "seldom", "marks", "defaults", "errors", "values", "reading", "histograms", "reactor_names",
}  # fmt: skip
MAY_IMPORT = {
    **dict.fromkeys(GROUND, GROUND),
    "kernel": {"kernel"},
    "injection": {*GROUND, "injection"},
    "engines": {*GROUND, "kernel", "injection", "engines"},
    "server": {*GROUND, "kernel", "injection", "engines", "server"},
    "host": {*GROUND, "kernel", "engines", "host"},
    "bench": {*GROUND, "kernel", "engines", "host", "bench"},
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def statements(tree):
    """Give a tree's nodes, without what only type checkers read (``if TYPE_CHECKING:``)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for each in node.orelse:
                yield each
                yield from statements(each)
        else:
            yield node
            yield from statements(node)


def imported(path):
    """Give what a module imports, wherever it does so: pairs of an absolute name and, after ``from``, what of it."""
    package = ["echobench", *path.relative_to(PACKAGE).parent.parts]
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *(node.module.split(".") if node.module else [])])
            yield from ((stem, alias.name) for alias in node.names)


def imports(path):
    """Absolute names of all that a module imports, wherever it does so."""
    for stem, name in imported(path):
        yield stem
        if name is not None:
            yield f"{stem}.{name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    floor = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = MAY_IMPORT.get(floor)
    if allowed is None:
        return  # the top: whatever it likes
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "echobench" and rest:
            target = rest.split(".")[0]
            if (PACKAGE / target).is_dir() or (PACKAGE / f"{target}.py").exists():
                assert target in allowed, f"{floor} imports {name}"
        if floor == "kernel":
            assert first not in ("twisted", "zope"), "the kernel floor knows no Twisted"


FLAT = {".", "bench"}
"""Folders in which each file is a room of its own; everywhere else the folder is the room."""


def room(path):
    """Give the room of a module: its folder, or itself where the folder is flat."""
    folder = str(path.relative_to(PACKAGE).parent)
    return str(path.relative_to(PACKAGE).with_suffix("")) if folder in FLAT else folder


def module(name):
    """Give the file of a module of ours by its absolute name; None if there is none."""
    if name.partition(".")[0] != "echobench":
        return None
    place = PACKAGE.joinpath(*name.split(".")[1:])
    found = [each for each in (place.with_suffix(".py"), place / "__init__.py") if each.exists()]
    return found[0] if found else None


def imported_modules(path):
    """Files of ours that a module imports, wherever it does so; imports for type checkers alone do not count."""
    found = set()
    for stem, name in imported(path):
        # ``from .. import guard`` imports the module, and no name that the package would have to bring.
        target = (name and module(f"{stem}.{name}")) or module(stem)
        if target is not None and target != path:
            found.add(target)
    return found


def neighbours():
    """Give for each room the rooms that its modules import."""
    graph = {}
    for path in (*modules(), PACKAGE / "__init__.py"):
        graph.setdefault(room(path), set()).update(map(room, imported_modules(path)))
    return {name: others - {name} for name, others in graph.items()}


def test_there_are_no_circles_between_rooms():
    """A folder that imports from another is above it, and so is never imported by it."""
    graphlib.TopologicalSorter(neighbours()).prepare()  # CycleError names the circle


BENCH = (
    {"bench/__init__", "bench/statuses", "bench/option", "bench/shells"},
    {"bench/markdown", "bench/words", "bench/places", "bench/printing", "bench/run"},
    {"bench/run/verdicts"},
    {"bench/command", "bench/files", "bench/load", "bench/drawing", "bench/compare/analysis"},
    {
        "bench/load/columns",
        "bench/load/portable",
        "bench/drawing/png",
        "bench/compare/server",
        "bench/verify",
        "bench/nic",
        "bench/cluster",
        "bench/ladder/servers",
    },
    {"bench/blast", "bench/compare/meters", "bench/doctor"},
    {"bench/compare", "bench/learn", "bench/sweep"},
    {"bench/show", "bench/ladder"},
    {"bench/commands"},
)
"""The benchmark's floors, the lowest first. A room imports from lower floors only."""


def test_the_floors_of_the_benchmark():
    """Each room is on the list, and imports from lower floors only.

    ``bench/load`` imports the engines, which are above it, by name and in the worker process only (worker.py).
    """
    floors = {name: number for number, names in enumerate(BENCH) for name in names}
    graph = {name: others for name, others in neighbours().items() if name.startswith("bench/")}
    assert set(graph) == set(floors)
    for name, others in graph.items():
        for other in others & set(floors):
            assert floors[other] < floors[name], f"{name} imports {other}"


def private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_stay_in_their_module(path):
    """Neither ``from .other import _name`` nor ``other._name``."""
    names = set()
    for stem, name in imported(path):
        if module(stem) is not None and name is not None:
            assert not private(name), f"{name} of {stem}"
            if module(f"{stem}.{name}") is not None:
                names.add(name)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            assert not private(node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from ..words import percent", {"bench/words.py"}),
        ("from .. import words", {"bench/words.py"}),
        ("import echobench.bench.words", {"bench/words.py"}),
        ("def f():\n    from ..files import store", {"bench/files.py"}),
        ("from . import command", {"bench/blast/command.py"}),
        ("from echobench import bench", {"bench/__init__.py"}),
        ("if TYPE_CHECKING:\n    from ..words import percent\nelse:\n    from .. import files", {"bench/files.py"}),
        ("import os\nfrom twisted.internet import defer", set()),
    ],
)
def test_what_is_an_import(tmp_path, monkeypatch, code, expected):
    """What the tests above would not see, they would not forbid."""
    path = PACKAGE / "bench/blast/imagined.py"
    monkeypatch.setattr(Path, "read_text", lambda self: code)
    assert {str(each.relative_to(PACKAGE)) for each in imported_modules(path)} == expected


def rooms(path):
    """Names of the benchmark's rooms and modules that one of its modules imports."""
    return {name.split(".")[2] for name in imports(path) if name.startswith("echobench.bench.")}


def test_verify_can_stand_alone():
    """But for its command and its report, which have options, files and consoles as the others have."""
    beside = {"command.py": {"files", "command", "option", "printing", "statuses"}, "report.py": {"printing"}}
    for path in (PACKAGE / "bench/verify").glob("*.py"):
        assert rooms(path) <= {"verify", *beside.get(path.name, ())}, path.name


def test_the_design_lists_every_folder_and_names_no_file_that_is_not_there():
    """Else whoever reads docs/design.md looks for what is not there, or finds what nobody explains."""
    text = (ROOT / "docs/design.md").read_text()
    listed = set(re.findall(r"^```\{generated\} files (\S+)$", text, re.MULTILINE))
    assert listed == {".", *(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())}
    there = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    for name in re.findall(r"`([a-z_/]+\.py)`", text):
        assert name.startswith("tests/") or any(path == name or path.endswith(f"/{name}") for path in there), name


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_first_what_it_is_for(path):
    first = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
    assert first.endswith((".", "."))
    assert len(first) <= 117, "one line"


def test_the_lesson_knows_only_the_vocabulary():
    ours = {name for name in imports(PACKAGE / "protocol.py") if name.startswith("echobench.")}
    assert {name.split(".")[1] for name in ours} == {"clocks", "counters", "defaults", "guard", "silence"}


def test_durations_follow_the_monotonic_clock():
    """A reactor's own timers follow the wall clock, unless it is ours alone, as the generator's worker's is."""
    theirs = re.compile(r"\breactor\b\.(seconds|callLater)|time\.time\(|\bsetting\.reactor\.(seconds|callLater)")
    for path in modules():
        name = str(path.relative_to(PACKAGE))
        day = ("clocks.py", "server/metrics/process.py")  # when a process began is a time of day
        if name not in day and not name.startswith("bench/load/portable/"):
            assert not theirs.search(path.read_text()), name


def test_faults_on_purpose_are_imported_only_if_they_are_asked_for():
    """No other module imports them at its top, and so a server without them has none of their code."""
    theirs = {PACKAGE / "injection", PACKAGE / "engines/portable/faulty"}
    for path in modules():
        if not theirs & set(path.parents):
            for node in ast.parse(path.read_text()).body:
                said = ast.unparse(node) if isinstance(node, (ast.Import, ast.ImportFrom)) else ""
                assert "injection" not in said, path
                assert "faulty" not in said, path


def test_the_lesson_is_short():
    tree = ast.parse((PACKAGE / "protocol.py").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert set(classes) == {"Echo", "EchoFactory", "EchoUDP"}
    assert sum((node.end_lineno or 0) - node.lineno + 1 for node in classes.values()) < 200


def test_nothing_of_ours_shadows_twisted():
    """A package file there would hide Twisted, or all other plugins."""
    assert not (ROOT / "twisted/__init__.py").exists()
    assert not (ROOT / "twisted/plugins/__init__.py").exists()

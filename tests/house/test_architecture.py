"""The house: which floor may import which, how long the lesson is, and what the package shows to the world."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from rigs.places import ROOT

import echobench

PACKAGE = Path(echobench.__file__).parent

GROUND = {"protocol", "guard", "counters", "reactors", "sockets", "acceptor", "defaults", "errors"}
MAY_IMPORT = {
    **dict.fromkeys(GROUND, GROUND),
    "kernel": {"kernel"},
    "engines": {*GROUND, "kernel", "engines"},
    "server": {*GROUND, "kernel", "engines", "server"},
    "bench": {*GROUND, "kernel", "engines", "bench"},
    "host": {*GROUND, "kernel", "host"},
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports(path):
    """Absolute names of all that a module imports, wherever it does so."""
    package = ["echobench", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *(node.module.split(".") if node.module else [])])
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)


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


def rooms(path):
    """Names of the benchmark's rooms and modules that one of its modules imports."""
    return {name.split(".")[2] for name in imports(path) if name.startswith("echobench.bench.")}


ABOVE_LOAD = {"command", "files", "drawing", "verify", "blast", "compare", "sweep"}


def test_load_knows_of_no_command_and_no_report():
    for path in (PACKAGE / "bench/load").rglob("*.py"):
        assert not rooms(path) & ABOVE_LOAD, path.name


def test_verify_can_stand_alone():
    """But for its command, which has options and files as the others have."""
    for path in (PACKAGE / "bench/verify").glob("*.py"):
        beside = {"files", "command"} if path.name == "command.py" else set()
        assert rooms(path) <= {"verify", *beside}, path.name


def test_the_design_names_every_module_and_no_other():
    """Else whoever reads docs/design.md looks for what is not there, or finds what nobody explains."""
    named = set(re.findall(r"`([a-z_/]+\.py)`", (ROOT / "docs/design.md").read_text()))
    there = [str(path.relative_to(PACKAGE)) for path in modules()]
    for path in there:
        assert path in named or path.endswith("__.py"), f"docs/design.md says nothing of {path}"
    for name in named - {"twisted/plugins/echobench_plugin.py", "__init__.py"}:
        assert name in there, f"there is no {name}"


def test_the_lesson_knows_only_the_vocabulary():
    ours = {name for name in imports(PACKAGE / "protocol.py") if name.startswith("echobench.")}
    assert {name.split(".")[1] for name in ours} == {"counters", "defaults", "guard"}


def test_the_lesson_is_short():
    tree = ast.parse((PACKAGE / "protocol.py").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert set(classes) == {"Echo", "EchoFactory", "EchoUDP"}
    assert sum((node.end_lineno or 0) - node.lineno + 1 for node in classes.values()) < 200


def test_nothing_of_ours_shadows_twisted():
    """A package file there would hide Twisted, or all other plugins."""
    assert not (ROOT / "twisted/__init__.py").exists()
    assert not (ROOT / "twisted/plugins/__init__.py").exists()


def test_every_reason_is_explained():
    """In the code, and where users read it."""
    text = (ROOT / "docs/options.md").read_text()
    for reason in echobench.Reason:
        assert reason.value in text, f"docs/options.md says nothing of {reason.value}"

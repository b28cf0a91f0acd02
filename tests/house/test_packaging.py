"""What is installed: from a wheel, from an sdist, editable, and taken away again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from rigs.helpers import run
from rigs.places import ROOT

PLUGIN = "twisted/plugins/echobench_plugin.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the tests are not in a source tree"),
]


def built(kind, folder, root=ROOT):
    """Build without isolation if hatchling is here, else as pip does; skip where no index can be reached."""
    code = f"import hatchling.build as b; print(b.build_{kind}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_the_wheel(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    names = zipfile.ZipFile(built("wheel", tmp_path)).namelist()
    assert PLUGIN in names
    assert "echobench/py.typed" in names
    beside = [path for path in (ROOT / "echobench").rglob("*") if path.name.endswith((".schema.json", ".css", ".js"))]
    assert len(beside) == 9
    assert {path.relative_to(ROOT).as_posix() for path in beside} <= set(names)
    course = [path.name for path in (ROOT / "docs/examples/course").glob("*/*.*")]
    assert len(course) == len([name for name in names if name.startswith("echobench/bench/learn/chapters/")])
    assert not [name for name in names if name.endswith(".pyc")]
    assert "twisted/__init__.py" not in names
    assert "twisted/plugins/__init__.py" not in names
    assert not [name for name in names if name.startswith(("tests", "docs"))]


def test_the_sdist(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    with tarfile.open(built("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {PLUGIN, "echobench/protocol.py", "tests/conftest.py", "docs/index.md", "README.md", "LICENSE"} <= names


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_the_cache_of_plugins_is_not_packed(tmp_path, kind):
    """Twisted writes it beside the plugins; a source tree that git does not keep has no .gitignore to leave it out."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    for name in ("echobench", "twisted"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs/examples/course", tmp_path / "docs/examples/course")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "twisted/plugins/dropin.cache").write_bytes(b"stale")
    made = built(kind, tmp_path, tmp_path)
    if kind == "wheel":
        names = zipfile.ZipFile(made).namelist()
    else:
        with tarfile.open(made) as archive:
            names = archive.getnames()
    assert [name for name in names if name.endswith("echobench_plugin.py")]
    assert not [name for name in names if name.endswith("dropin.cache")]


@pytest.mark.parametrize("how", ["wheel", "editable", "sdist"])
def test_twistd_shows_it_and_uninstalling_leaves_nothing(tmp_path, how):
    """In a fresh environment that sees our Twisted but not our package."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    pytest.importorskip("editables", reason="editables is not installed")
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                               check=True, capture_output=True, text=True).stdout.strip())  # fmt: skip
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join(ours) + "\n")
    hide = "import sys; sys.path[:] = [p for p in sys.path if p != " + repr(str(ROOT)) + "]\n"
    if how != "editable":
        (site / "zz_hide.pth").write_text(hide)
    source = {"wheel": str(ROOT), "editable": str(ROOT), "sdist": None}[how] or str(built("sdist", tmp_path))
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = [*pip, "install", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    done = run([*install, *(["-e"] if how == "editable" else []), source], tmp_path)
    assert done.returncode == 0, done.stdout
    twistd = [python, "-c", "from twisted.scripts.twistd import run; run()", "--help"]
    assert "echobench" in run(twistd, tmp_path).stdout
    where = run([python, "-c", "import echobench; print(echobench.__file__)"], tmp_path).stdout
    assert str(ROOT if how == "editable" else site) in where
    assert run([*pip, "uninstall", "--yes", "echobench"], tmp_path).returncode == 0
    left = [path for path in site.rglob("*echobench*") if path.suffix != ".pyc" and path.name != "__pycache__"]
    assert left == []

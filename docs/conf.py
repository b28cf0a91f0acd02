"""How Sphinx builds these pages: pip install '.[docs]', then sphinx-build -W -b html docs docs/_build/html."""

from __future__ import annotations

import re
from pathlib import Path

project = "echobench"
author = "the echobench authors"
copyright = f"2026, {author}"
release = re.findall(
    r'^__version__ = "(.+)"$', (Path(__file__).parent.parent / "echobench" / "__init__.py").read_text(), re.MULTILINE
)[0]
version = release

extensions = ["myst_parser"]
exclude_patterns = ["_build", "measures"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings: list[str] = []

html_theme = "furo"
html_title = f"echobench {release}"

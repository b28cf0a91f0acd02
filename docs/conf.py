"""How Sphinx builds these pages: pip install '.[docs]', then sphinx-build -W -b html docs docs/_build/html."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from echobench import __version__

project = "echobench"
author = "the echobench authors"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "reference"]
exclude_patterns = ["_build", "_ext", "measures"]
suppress_warnings: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"IStreamServerEndpoint": "IStreamServerEndpoint"}  # Zope's interfaces are no classes
maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"echobench {release}"
html_static_path = ["_static"]
html_css_files = ["code.css"]


def tidy(  # noqa: PLR0917 (autodoc calls it)
    app: Any, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write signatures as their callers see them, where Python's own description of them is another."""
    for pattern, text in (
        (r"[~\w.]*TypeAliasForwardRef\('(\w+)'\)", r"\1"),  # an alias from above
        (r"<class '[\w.]*?(\w+)'>", r"\1"),
        (r"<[\w.]+\.Failure [^>]+>", "connectionDone"),
        (r"\bNOTHING\b", "..."),  # attrs makes the default anew for each object
    ):
        signature = signature and re.sub(pattern, text, signature)
    if returns and "Generator[" in returns:  # inlineCallbacks makes a Deferred of it
        returns = "Deferred[None]"
    return signature, returns


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", tidy)

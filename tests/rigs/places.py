"""Where the sources are, for tests that read or start them."""

from __future__ import annotations

from pathlib import Path

RIGS = Path(__file__).parent
ROOT = RIGS.parent.parent
DOCS = ROOT / "docs"

"""``python -m echobench``: the same as the command ``echobench``."""

from __future__ import annotations

from .cli import main

main()

"""Puts the chapters of the course into a wheel, for echobench learn where there is no source tree."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Chapters(BuildHookInterface[Any]):
    """Adds files to a wheel; an editable installation has the source tree itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name what goes where. Hatchling calls this before it builds."""
        if version == "standard":
            build_data["force_include"]["docs/examples/course"] = "echobench/bench/learn/chapters"

"""Servers under test: named, pinned, started, awaited and ended."""

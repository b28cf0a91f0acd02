"""Servers under test: started, awaited, pinned and ended."""

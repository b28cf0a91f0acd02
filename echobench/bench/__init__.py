"""Measures, compares and verifies echo servers. Needs the extra ``bench``.

The extra brings numpy, click and rich. Each command has a folder: ``blast``, ``compare``, ``sweep`` and ``verify``.
"""

"""Skips what needs the extra, with the reason."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")

"""The rows of the table. Importing this imports each module here, which fills it."""

from __future__ import annotations

import importlib
import pkgutil

MODULES = sorted(module.name for module in pkgutil.iter_modules(__path__))

for _name in MODULES:
    importlib.import_module(f"{__name__}.{_name}")

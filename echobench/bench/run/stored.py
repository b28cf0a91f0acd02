"""Reading what was stored as JSON: from a file to a value, with a sentence for whatever is wrong with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ...errors import EchobenchError
from .plan import PlanError

T = TypeVar("T")


class ResultError(EchobenchError):
    """A stored result that cannot be used; the message is one sentence."""


def load(path: str, decode: Callable[[Any], T]) -> T:
    """Read a file, and make of its JSON what was stored there. Raises ResultError with a sentence that names it."""
    try:
        return decode(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror or error}") from None
    except ResultError as error:
        raise ResultError(f"{path} cannot be used: {error}") from None
    except (ValueError, RecursionError):  # also of bytes that are no UTF-8
        raise ResultError(f"{path} cannot be used: it is no JSON") from None


@contextlib.contextmanager
def decoding(stored: Any, schema: str) -> Iterator[None]:
    """See that what was stored is of a schema, and say what is wrong with it otherwise. Raises ResultError."""
    if not isinstance(stored, dict) or "schema" not in stored:
        command = schema.partition("/")[0].replace(".", " ")
        raise ResultError(f"it is no result of {command}")
    if stored["schema"] != schema:
        raise ResultError(f"its schema is {stored['schema']!r}, and this version reads {schema!r}")
    try:
        yield
    except KeyError as error:
        raise ResultError(f"it is not whole: {error} is missing") from None
    except (PlanError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ResultError(f"it is not as it was written: {error}") from None


def several(kind: Callable[..., T], stored: list[dict[str, Any]]) -> tuple[T, ...]:
    """Make a value of each of several that were stored by the names of their fields."""
    return tuple(kind(**each) for each in stored)

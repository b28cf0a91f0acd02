"""Reads stored JSON into values, with a sentence for each way it can be wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from ...errors import EchobenchError
from ...reading import contents
from .plan import PlanError

T = TypeVar("T")

LARGEST: Final = 1 << 28
"""Bytes in a stored result; a long comparison has some million."""


class ResultError(EchobenchError):
    """A stored result that cannot be used; the message is one sentence."""


def load(path: str, decode: Callable[[Any], T]) -> T:
    """Read a JSON file and decode it.

    Raises ResultError with a sentence that names the file.
    """
    try:
        return decode(json.loads(contents(path, LARGEST).decode()))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror or error}") from None
    except ResultError as error:
        raise ResultError(f"{path} cannot be used: {error}") from None
    except (ValueError, RecursionError):  # also for bytes that are not UTF-8
        raise ResultError(f"{path} cannot be used: it is not JSON") from None


@contextlib.contextmanager
def decoding(stored: Any, schema: str) -> Iterator[None]:
    """Check the schema of a stored value, and turn errors into ResultError.

    Use it as a context around the decoding.
    """
    if not isinstance(stored, dict) or "schema" not in stored:
        command = schema.partition("/")[0].replace(".", " ")
        raise ResultError(f"it is not a result of {command}")
    if stored["schema"] != schema:
        raise ResultError(f"its schema is {stored['schema']!r}, and this version reads {schema!r}")
    try:
        yield
    except KeyError as error:
        raise ResultError(f"it is incomplete: {error} is missing") from None
    except (PlanError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ResultError(f"it is damaged: {error}") from None


def several(kind: Callable[..., T], stored: list[dict[str, Any]]) -> tuple[T, ...]:
    """Make values from stored dictionaries of their fields."""
    return tuple(kind(**each) for each in stored)

"""The base class of errors that a user can correct."""

from __future__ import annotations


class EchobenchError(Exception):
    """Something that the user can correct; the message is one sentence.

    It says what was wrong, and what to do.

    A program prints the sentence alone. Any other exception is a fault of the program and deserves its traceback.
    """

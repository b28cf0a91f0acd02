"""The base class of the errors that a user can mend: each message is one sentence that says how."""

from __future__ import annotations


class EchobenchError(Exception):
    """Something that the user can put right; the message is one sentence: what was wrong, and what to do.

    A program prints the sentence alone. Any other exception is a fault of the program and deserves its traceback.
    """

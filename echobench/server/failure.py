"""The exception that ends the program with one sentence, under every runner."""

from __future__ import annotations


class StartupFailure(SystemExit, Exception):  # noqa: N818 (it is what ends the program)
    """A reason not to start: one sentence that says what was wrong and what to do.

    It is both an Exception and a SystemExit, and each half is needed. twistd cleans up after an Exception in a start
    method (it removes the pidfile, and tells the parent that waits for its daemon) and then lets it go on up; so does
    twist. At the top Python meets a SystemExit with a text: it prints that on standard error, without a traceback, and
    exits with status 1. A plain SystemExit would leave twistd's parent waiting and its pidfile behind; a plain
    Exception would print a traceback.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = f"echobench: {sentence}"


# A daemon's parent shows no more than 100 bytes of "module.Class: message", without the module if that is builtins.
# This way it is the same line as everywhere else, and the first 87 characters of the sentence are seen.
StartupFailure.__module__, StartupFailure.__qualname__ = "builtins", "echobench"

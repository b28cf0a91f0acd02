"""The exception that ends the program with one sentence, under every runner."""

from __future__ import annotations


class StartupFailure(SystemExit, Exception):  # noqa: N818 (it is what ends the program)
    """A reason not to start: one sentence that says what was wrong and what to do.

    It is both an Exception and a SystemExit, and both are needed. After an Exception in a start method, twistd removes
    the pidfile, tells the parent that waits for the daemon, and raises the exception again; twist raises it again too.
    At the top, Python sees a SystemExit with a text. It prints the text on standard error, without a traceback, and
    exits with status 1. A plain SystemExit would leave twistd's parent waiting and its pidfile behind. A plain
    Exception would print a traceback.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = f"echobench: {sentence}"


# A daemon's parent shows at most 100 bytes of "module.Class: message", and leaves out the module if it is builtins.
# With these names the line is the same as everywhere else, and shows the first 87 characters of the sentence.
StartupFailure.__module__, StartupFailure.__qualname__ = "builtins", "echobench"

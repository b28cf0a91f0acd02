"""A worker whose engine is a fake: ``python fake_load.py HOW`` behaves as HOW says."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from echobench.bench.load import LoadError, worker
from echobench.bench.load.account import Account
from echobench.bench.load.window import SECOND, Window
from echobench.bench.run.tally import Tally

HOW = sys.argv[1] if __name__ == "__main__" else "well"


class Fake:
    """Answers one message each millisecond, after 50 microseconds, as if there were a server."""

    def __init__(self, share, address, tick):
        self.share, self.tick = share, tick
        self.tally = Tally()
        self.stopped = threading.Event()

    @staticmethod
    def unavailable(share):
        return "it is a fake that cannot" if HOW == "unavailable" else None

    def open(self):
        if HOW == "refuses":
            raise LoadError("the server refuses connections: is it running?")
        if HOW == "junk":
            print("Hello!", file=worker_out, flush=True)
        if HOW == "dies-early":
            sys.exit("no life before the run")
        if HOW == "slow-start":
            threading.Event().wait()

    def rehearse(self):
        if HOW == "stage-fright":
            raise LoadError(
                "the source 127.0.0.1 port 40000 is in use: give other --source-ports, or stop what uses it"
            )
        return Tally()

    def run(self, begin):
        if HOW == "dies" and self.share.index == 0:
            sys.exit("I am dying")
        if HOW == "fails" and self.share.index == 0:
            raise LoadError("the server went away")
        if HOW == "hangs" and self.share.index == 0:
            threading.Event().wait()
        if HOW == "freezes" and self.share.index == 0:
            os.kill(os.getpid(), signal.SIGSTOP)  # only force ends it now
        if HOW == "raises":
            raise RuntimeError("a fault of the engine")
        window = Window(self.share.plan, begin)
        account = Account(self.share.plan, self.tally, window, self.tick)
        left = self.share.count
        self.stopped.wait(max(0, begin - time.perf_counter_ns()) / SECOND)
        while (now := time.perf_counter_ns()) < window.last and left != 0:
            if self.stopped.wait(0.001):
                window.cut(time.perf_counter_ns())
                break
            account.began(now)
            account.sent(now, now)
            account.answered(now, now, now + 50_000, 64)
            account.worked(1, now, now + SECOND // 10_000)
            left = left - 1 if left is not None else None
        account.finish()

    def stop(self):
        if HOW != "stubborn":
            self.stopped.set()

    def close(self):
        pass


if __name__ == "__main__":
    sys.path.insert(0, __file__.rpartition("/")[0])
    worker.ENGINES["portable"] = "__main__:Fake"
    worker_out = os.fdopen(os.dup(1), "w")  # sys.stdout would not reach the parent
    sys.exit(worker.main())

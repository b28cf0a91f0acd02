"""Check: does a measurement see that the server stands still? Usage: pauses.py FILE.

Server and clock are imagined, so the check takes no time and has no luck: an echo takes 0.1 ms, and the server stands
still from the 200th to the 250th millisecond of each second.
"""

import importlib.util
import sys


class World:
    """A clock that moves only when somebody waits."""

    now = 100.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def ask(self):
        self.now += 0.0001
        if 0.2 <= self.now % 1 < 0.25:
            self.now += 0.25 - self.now % 1


spec = importlib.util.spec_from_file_location("measured", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
world = World()
times = module.measure(world.ask, world.clock, world.sleep)
p99 = 1e3 * module.percentile(times, 0.99)
if p99 < 35:
    sys.exit(f"p99 is {p99:.1f} ms of a server that stands still for 50 ms in each second")
print(f"p99 is {p99:.1f} ms")

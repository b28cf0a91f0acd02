"""Check: how often does a program claim what is not so, and miss what is? Usage: claims.py FILE.

The rounds are imagined, by a generator of random numbers that begins the same each time: a run varies by 3 %.
"""

import importlib.util
import random
import sys

spec = importlib.util.spec_from_file_location("judging", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
chance = random.Random(2)


def claimed(speed, rounds):
    """Give in how many of 1000 comparisons a server of that speed is called faster."""
    runs = lambda true: [true * (1 + 0.03 * chance.gauss(0, 1)) for _ in range(rounds)]  # noqa: E731
    return sum(
        bool(module.faster([new / old for new, old in zip(runs(speed), runs(1.0), strict=True)])) for _ in range(1000)
    )


for rounds in (3, 5, 10):
    if (wrong := claimed(1.0, rounds)) > 40:
        sys.exit(f"of 1000 comparisons of two equal servers, {wrong} found one faster, after {rounds} rounds")
if (found := claimed(1.1, 10)) < 900:
    sys.exit(f"of 1000 comparisons with a server that is 10 % faster, only {found} found it so, after 10 rounds")
print(f"of 1000 equal servers {claimed(1.0, 10)} were called faster, of 1000 that are 10 % faster {found}")

"""Random numbers that a seed determines, for each fault of each flow on its own.

Whether the tenth message of a connection is dropped depends on the seed, the transport, and the numbers ten and of the
connection; on no other fault, and on no other connection. Python's Mersenne Twister would take 2.5 KB for each of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

Random = Callable[[], float]
"""Gives the next random number, from 0 to below 1."""


class Dice:
    """Gives the random numbers of one fault on one flow, one after the other.

    Number ``n`` (from 0 on) is the first 53 bits of BLAKE2b over ``n``, under a key made of the seed, the transport,
    the number of the flow (from 1 on) and the name of the fault, and of the worker's number if that is not 0.
    """

    __slots__ = ("_key", "_next")

    def __init__(self, seed: int, transport: str, flow: int, fault: str, worker: int = 0) -> None:
        text = f"{seed}/{transport}/{flow}/{fault}" + (f"/{worker}" if worker else "")
        self._key = hashlib.blake2b(text.encode(), digest_size=32).digest()
        self._next = 0

    def __call__(self) -> float:
        """Give the next one."""
        number = self._next
        self._next = number + 1
        found = hashlib.blake2b(number.to_bytes(8, "big"), key=self._key, digest_size=8).digest()
        return (int.from_bytes(found, "big") >> 11) * 2.0**-53

"""Histograms of latencies: HdrHistogram's buckets, filled by columns, in 270 KiB.

The layout is HdrHistogram's own (Gil Tene, hdrhistogram.org) with three significant digits: a value is known to within
a thousandth of itself, whatever its size. Histograms can be added up, and percentiles cannot; so histograms are kept,
stored and merged. :meth:`Histogram.encode` writes them so that every HdrHistogram library reads them.
"""

from __future__ import annotations

import base64
import copy
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SIGNIFICANT: Final = 3  # digits
HALF: Final = 1024  # half of the 2,048 steps that it takes to tell 1,000 from 1,001, and 1,999 from 2,000
HALF_BITS: Final = 10
HIGHEST: Final = (1 << 42) - 1  # nanoseconds, some 73 minutes; longer times count as this
BUCKETS: Final = 42 - HALF_BITS
BEYOND: Final = 10  # values that must lie beyond a percentile for it to mean something
DEPTHS: Final = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)

_OFFSET: Final = (1023 + HALF_BITS - 1) << HALF_BITS  # 1023 is the exponent of 1.0 (IEEE 754)

_COOKIE: Final = 0x1C849303 | 0x10  # V2, counts as ZigZag LEB128
_COMPRESSED: Final = 0x1C849304 | 0x10
_HEAD: Final = struct.Struct(">iiiiqqd")  # cookie, length, normalizing offset, digits, lowest, highest, ratio

Array = npt.NDArray[np.int64]


class Histogram:
    """Counts of values in nanoseconds.

    ``counts`` has one number for each of the 33,792 steps.
    """

    def __init__(self) -> None:
        self.counts: Array = np.zeros((BUCKETS + 1) * HALF, np.int64)
        self.least = HIGHEST
        self.greatest = 0
        self.sum = 0
        self.lost = 0
        """Messages without a time, because they never came back: percentiles rank them beyond every value.

        It is not stored with a histogram, but follows from the tally.
        """

    def with_lost(self, number: int) -> Histogram:
        """Give a view of this histogram in which so many messages are lost."""
        view = copy.copy(self)
        view.lost = number
        return view

    def record(self, values: npt.ArrayLike, times: int | Array = 1) -> None:
        """Count values, in nanoseconds, each ``times`` times: a number for all, or a column.

        A value below 0 counts as 0, and one above ``HIGHEST`` counts as ``HIGHEST``.
        """
        array = np.atleast_1d(np.asarray(values, np.int64))
        if not len(array):
            return
        least, greatest = int(array.min()), int(array.max())
        if least < 0 or greatest > HIGHEST:
            array = np.clip(array, 0, HIGHEST)
            least, greatest = int(array.min()), int(array.max())
        index = steps(array)
        if isinstance(times, int):
            counts = times * np.bincount(index)
            total = times * int(array.sum())
        else:  # bincount() adds the weights up as floats of 64 bits, in which counts are exact
            counts = np.bincount(index, times).astype(np.int64)
            total = _total(array, times)
        self.counts[: len(counts)] += counts
        self.least = min(self.least, least)
        self.greatest = max(self.greatest, greatest)
        self.sum += total

    def add(self, other: Histogram) -> None:
        """Add all counts of another histogram."""
        # Only the steps that may have counts: to read all steps of a thousand histograms would take most of the time.
        if other.least <= other.greatest:
            first, last = steps(np.array([other.least, other.greatest], np.int64)).tolist()
            self.counts[first : last + 1] += other.counts[first : last + 1]
        self.least, self.greatest = min(self.least, other.least), max(self.greatest, other.greatest)
        self.sum += other.sum
        self.lost += other.lost

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean in nanoseconds; nan if the histogram is empty."""
        total = self.total
        return self.sum / total if total else float("nan")

    def percentile(self, percent: float) -> float:
        """Give the lowest step that ``percent`` of the values do not exceed.

        In nanoseconds, and never outside the least and the greatest value. It is nan if the histogram is empty, and
        infinite if that value is lost.
        """
        total = self.total
        if not total + self.lost:
            return float("nan")
        if percent <= 0 and total:
            return float(self.least)
        wanted = max(1, int(np.ceil((total + self.lost) * percent / 100 - 1e-9)))
        if wanted > total:
            return float("inf")
        if percent >= 100:
            return float(self.greatest)
        return self._within(int(np.searchsorted(np.cumsum(self.counts), wanted)))

    def _within(self, step: int) -> float:
        """Give the middle of a step, or the nearest value to it that was there.

        In the first and the last step, all values may lie on one side of the middle.
        """
        return float(max(self.least, min(middle(step), self.greatest)))

    def supports(self, percent: float) -> bool:
        """Tell whether enough values lie beyond a percentile for it to mean something."""
        return round((self.total + self.lost) * (100 - percent) / 100, 6) >= BEYOND

    def percentiles(self, depths: Sequence[float] = DEPTHS) -> dict[float, float]:
        """Give those of the percentiles that the number of values supports."""
        return {depth: self.percentile(depth) for depth in depths if self.supports(depth)}

    def curve(self) -> list[tuple[float, float]]:
        """Give (percent, nanoseconds) of each step that has values, for a plot."""
        total = self.total
        used = np.flatnonzero(self.counts)
        upto = np.cumsum(self.counts[used])
        return [(100.0 * int(n) / total, self._within(int(i))) for i, n in zip(used, upto, strict=True)]

    def encode(self) -> str:
        """Write HdrHistogram's compressed V2 encoding, in base64.

        This is the form that lines of a .hlog file have.
        """
        payload = bytearray()
        end = int(np.flatnonzero(self.counts)[-1]) + 1 if self.counts.any() else 0
        zeros = 0
        for count in self.counts[:end].tolist():
            if not count:
                zeros += 1
                continue
            if zeros:
                _write(payload, -zeros)
                zeros = 0
            _write(payload, count)
        head = _HEAD.pack(_COOKIE, len(payload), 0, SIGNIFICANT, 1, HIGHEST, 1.0)
        packed = zlib.compress(head + bytes(payload))
        return base64.b64encode(struct.pack(">ii", _COMPRESSED, len(packed)) + packed).decode()

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes.

        That is the encoded counts, and the figures that these do not hold exactly.
        """
        if not self.total:
            return {"count": 0, "hdr": self.encode()}
        return {
            "count": self.total,
            "least": self.least,
            "greatest": self.greatest,
            "sum": self.sum,
            "hdr": self.encode(),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Histogram:
        """Read a stored histogram.

        Raises ValueError, KeyError or TypeError if it is not what :meth:`as_dict` gave.
        """
        made, used, counts = _decoded(stored["hdr"])
        total = int(counts.sum())
        if total != stored["count"]:
            raise ValueError(f"a histogram of {stored['count']} values holds {total}")
        if total:
            made.least, made.greatest, made.sum = int(stored["least"]), int(stored["greatest"]), int(stored["sum"])
            ends = steps(np.clip(np.array([made.least, made.greatest], np.int64), 0, HIGHEST))
            if ends[0] > used[0] or ends[1] < used[-1]:
                raise ValueError("a histogram has values below its minimum or above its maximum")
        return made

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """Read what :meth:`encode` wrote. Raises ValueError if it is not that."""
        made, used, counts = _decoded(text)
        if len(used):
            made.least, made.greatest = middle(int(used[0])), middle(int(used[-1]))
            made.sum = _total(middles(used), counts)
        return made


def _decoded(text: str) -> tuple[Histogram, Array, Array]:
    """Read what ``encode`` wrote, and give the steps that have counts, rising, and these. Raises ValueError."""
    try:
        whole = base64.b64decode(text, validate=True)
        cookie, length = struct.unpack_from(">ii", whole)
        data = zlib.decompress(whole[8 : 8 + length])
        inner, size, _, digits, lowest, highest, _ = _HEAD.unpack_from(data)
    except (ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"this is not a compressed HdrHistogram: {error}") from None
    if (cookie, inner, digits, lowest, highest) != (_COMPRESSED, _COOKIE, SIGNIFICANT, 1, HIGHEST):
        raise ValueError("this HdrHistogram has other bounds or another encoding than echobench's")
    made = Histogram()
    values = _read(data[_HEAD.size : _HEAD.size + size])
    width = np.where(values < 0, -values, 1)  # a negative number is that of steps without a count
    used = (np.cumsum(width) - width)[values >= 0]
    counts = values[values >= 0]
    if len(used) and not 0 <= used.min() <= used.max() < len(made.counts):
        raise ValueError("this HdrHistogram has more steps than its bounds allow")
    used, counts = used[counts > 0], counts[counts > 0]
    made.counts[used] = counts
    return made, used, counts


def steps(values: Array) -> Array:
    """Give the step that each value, from 0 to ``HIGHEST``, belongs to."""
    # A float of 64 bits holds an exponent and then the digits. The exponent and the first ten bits after the leading 1
    # are the step. Integers of up to 53 bits are exact in it. Below HALF each value is a step of its own.
    index = (values.astype(np.float64).view(np.int64) >> (52 - HALF_BITS)) - _OFFSET
    return np.where(values < HALF, values, index) if int(values.min()) < HALF else index


def middle(step: int) -> int:
    """Give the value in the middle of a step."""
    shift = max((step >> HALF_BITS) - 1, 0)
    low = (step - (shift << HALF_BITS)) << shift
    return low + ((1 << shift) >> 1)


def middles(index: Array) -> Array:
    """Give the values in the middle of steps: :func:`middle` of a column."""
    shift = np.maximum((index >> HALF_BITS) - 1, 0)
    found: Array = ((index - (shift << HALF_BITS)) << shift) + ((1 << shift) >> 1)
    return found


def _total(values: Array, times: Array) -> int:
    """Add up values, each as often as it was there; the sum may need more than 64 bits."""
    high, low = divmod(values, 1 << 20)
    return (int(high @ times) << 20) + int(low @ times)


def _write(into: bytearray, value: int) -> None:
    """Append a number as ZigZag LEB128.

    It takes nine bytes at most, of which the ninth has eight bits of the number.
    """
    rest = (value << 1 ^ value >> 63) & 0xFFFFFFFFFFFFFFFF
    for _ in range(8):
        if rest < 0x80:
            break
        into.append(rest & 0x7F | 0x80)
        rest >>= 7
    into.append(rest)


def _read(data: bytes) -> Array:
    """Read the numbers that :func:`_write` wrote, all at once: a result of many machines has thousands of them."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1 or np.diff(ends, prepend=-1).max() > 8):
        return np.array(_read_slowly(data), np.int64)  # a number of nine bytes has no last byte that shows itself
    starts = np.concatenate(([0], ends[:-1] + 1))[: len(ends)]
    place = np.arange(len(raw)) - np.repeat(starts, ends - starts + 1)
    parts = (raw & 0x7F).astype(np.int64) << (7 * place)
    found: Array = np.add.reduceat(parts, starts) if len(starts) else parts
    return (found >> 1) ^ -(found & 1)


def _read_slowly(data: bytes) -> list[int]:
    values = []
    at = 0
    while at < len(data):
        value = shift = 0
        while True:
            if at >= len(data):
                raise ValueError("this HdrHistogram is cut short")
            byte = data[at]
            at += 1
            if shift == 56:
                value |= byte << shift
                break
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
            shift += 7
        values.append(value >> 1 ^ -(value & 1))
    return values

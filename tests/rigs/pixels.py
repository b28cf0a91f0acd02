"""Reads PNG files, to see what is really drawn."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def pixels(png):
    """Give rows of RGB, of a file with 8 bits for each of red, green, blue and opacity (PNG, 9.2: filters)."""
    across, down = size(png)
    assert png[24:29] == b"\x08\x06\x00\x00\x00"
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, width = zlib.decompress(data), 4 * across
    above, made = bytearray(width + 4), bytearray()  # an empty line, and an empty pixel before each line
    for start in range(0, len(raw), width + 1):
        kind, line = raw[start], bytearray(4)
        for n, value in enumerate(raw[start + 1 : start + 1 + width], 4):
            line.append((value + _predicted(kind, line[n - 4], above[n], above[n - 4])) & 255)
        made += line[4:]
        above = line
    return np.frombuffer(bytes(made), np.uint8).reshape(down, across, 4)[:, :, :3].astype(int)


def _predicted(kind, left, up, corner):
    if kind < 3:
        return (0, left, up)[kind]
    if kind == 3:
        return (left + up) // 2
    return min((left, up, corner), key=lambda each: abs(left + up - corner - each))

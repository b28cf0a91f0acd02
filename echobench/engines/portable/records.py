"""Where TLS records end in a stream of bytes, without looking into them.

Each record begins with five bytes: its type, a version, and the length of the rest (RFC 8446, 5.1).
"""

from __future__ import annotations

from typing import Final

HEAD: Final = 5  # bytes
LARGEST: Final = 1 << 14  # bytes of plaintext in a record
ODD: Final = 1 << 16
"""What :meth:`Records.completed` returns once the bytes are no TLS: more records than any read can hold."""

_TYPES: Final = frozenset((20, 21, 22, 23))  # change_cipher_spec, alert, handshake, application_data
_MAJOR: Final = 3  # of all versions since SSL 3.0
_LONGEST: Final = LARGEST + 2048  # bytes of a record in TLS 1.2 (RFC 5246, 6.2.3), the longest of any version


class Records:
    """Counts the records of one direction of a connection."""

    __slots__ = ("_head", "_missing", "_odd")

    def __init__(self) -> None:
        self._head = b""
        """The first bytes of a record whose head has not come whole."""
        self._missing = 0
        """How many bytes of the present record are still to come; 0 between two records."""
        self._odd = False

    def completed(self, data: bytes) -> int:
        """Return how many records end within ``data``, which follows all that was given before.

        What no TLS peer sends counts as ODD records, so that whoever decrypts them finds it at once.
        """
        if self._head:
            data, self._head = self._head + data, b""
        at, end = self._missing, len(data)
        if at > end:
            self._missing = at - end
            return 0
        count = 1 if at else 0
        while end - at >= HEAD:
            length = data[at + 3] << 8 | data[at + 4]
            if self._odd or data[at] not in _TYPES or data[at + 1] != _MAJOR or length > _LONGEST:
                self._odd = True
                return ODD
            at += HEAD + length
            if at > end:
                self._missing = at - end
                return count
            count += 1
        self._missing, self._head = 0, data[at:]
        return count

    def lose_track(self) -> None:
        """Know from now on that records may end anywhere: bytes have come that were not shown here."""
        self._odd = True

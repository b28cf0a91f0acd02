"""Conformance of any echo server to RFC 862, clause by clause.

Plain blocking sockets, one thread of control, no Twisted: what is found here cannot come from a fault of our own
server. :func:`verify` needs only the standard library and attrs; given other clauses, it checks any protocol.
"""

from __future__ import annotations

from .clauses import CLAUSES, Clause
from .outcomes import Outcome, Verification
from .peer import Absent, Failed, Peer, Refused
from .run import VerifyError, verify

__all__ = [
    "CLAUSES", "Absent", "Clause", "Failed", "Outcome", "Peer", "Refused", "Verification", "VerifyError", "verify",
]  # fmt: skip

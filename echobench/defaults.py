"""The defaults of the service, its options, the engines and the protocols."""

from __future__ import annotations

from typing import Final

PORT: Final = 7
"""The number that IANA assigns to echo, for TCP and UDP (RFC 862)."""

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that a closing connection may take nothing for, and that a stopping service waits for its connections."""

BACKLOG: Final = 4096
"""Connections that may wait to be accepted; Linux cuts it to net.core.somaxconn, 4096 by default since Linux 5.4."""

RECEIVE_BUFFER: Final = 4 << 20
"""Bytes that a UDP socket may queue. Linux's usual 208 KiB hold some 250 small datagrams."""

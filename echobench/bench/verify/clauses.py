"""The clauses: what is checked, and why. ``tcp`` and ``udp`` have the checks.

A clause and its check have the same id. RFC 862 is a page long. What it says is quoted; the rest follows from TCP (RFC
9293) and UDP (RFC 768, RFC 1122), or is good sense, and then the basis says so.
"""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Clause:
    """One thing that an echo server does."""

    id: str
    title: str
    """The requirement: a sentence without its full stop."""
    basis: str
    """The source of the requirement."""
    required: bool = True
    """Whether a server that does not do it fails; otherwise the check only reports what it saw."""
    essential: bool = False
    """Whether it belongs to the few clauses of a quick check."""

    @property
    def transport(self) -> str:
        """``tcp`` or ``udp``."""
        return self.id.partition("-")[0]


TCP_BACK = 'RFC 862: "any data received is sent back"'
UDP_BACK = 'RFC 862: "when a datagram is received, the data from it is sent back in an answering datagram"'
UNTIL = 'RFC 862: "this continues until the calling user terminates the connection"'
STREAM = "RFC 9293: TCP is a stream, in which the sizes of writes mean nothing"
SOURCE = "RFC 1122, 4.1.3.5: the source of an answer should be the destination of the request"
SENSE = "good sense"

TCP: Final = (
    Clause(id="tcp-answer", title="A short line comes back", basis=TCP_BACK, essential=True),
    Clause(
        id="tcp-prompt",
        title="Single bytes come back at once, without a newline or a full buffer",
        basis=f"{SENSE}: a client that waits for the answer to one byte would wait for ever",
    ),
    Clause(id="tcp-values", title="All 256 byte values come back unchanged", basis=TCP_BACK),
    Clause(
        id="tcp-bytewise",
        title="Bytes that are sent one at a time come back in order",
        basis=STREAM,
    ),
    Clause(
        id="tcp-chunks",
        title="Chunks of random sizes come back in order",
        basis=STREAM,
    ),
    Clause(id="tcp-large", title="3 MB in large writes come back whole", basis=TCP_BACK),
    Clause(
        id="tcp-half-close",
        title="3 MB that were sent before a half-close come back whole, and then the end, three times",
        basis='RFC 862: "any data received is sent back"; RFC 9293, 3.6: a peer that closes can still receive',
        essential=True,
    ),
    Clause(id="tcp-close", title="After our half-close the server closes too", basis=UNTIL),
    Clause(id="tcp-empty", title="A connection on which nothing is sent ends without a byte", basis=UNTIL),
    Clause(
        id="tcp-duplex",
        title="32 MiB come back while they are being written",
        basis=f"{SENSE}: this is more than any buffer holds, so a server that only reads or only writes gets stuck",
    ),
    Clause(
        id="tcp-slow-reader",
        title="A client that does not read for a while loses nothing, and harms no other connection",
        basis=f"{SENSE}: all data is sent back, whenever it is read, and other clients do not wait for it",
    ),
    Clause(
        id="tcp-connections",
        title="Many connections are answered at the same time",
        basis=f"{SENSE}: a service has more than one client",
    ),
    Clause(id="tcp-reset", title="Connections that are reset harm no others", basis=f"{SENSE}: peers vanish"),
)

SIZES: Final = (0, 1, 512, 1472, 8192)
"""Bytes of datagrams: none, one, the DNS's old limit, the largest in an Ethernet frame over IPv4, a common buffer."""

WHY_SIZES: Final = {
    0: f"{UDP_BACK}; RFC 768 allows a datagram without data",
    8192: f"{UDP_BACK}; RFC 1122, 3.3.2: IP puts fragments together",
}

UDP: Final = (
    Clause(id="udp-answer", title="A small datagram comes back", basis=UDP_BACK, essential=True),
    *(
        Clause(
            id=f"udp-size-{size}",
            title=f"A datagram of {size} byte{'s' * (size > 1)} comes back whole"
            if size
            else "An empty datagram comes back",
            basis=WHY_SIZES.get(size, UDP_BACK),
        )
        for size in SIZES
    ),
    Clause(
        id="udp-largest",
        title="The largest datagram comes back whole: 65507 bytes over IPv4, 65527 over IPv6",
        basis=f"{UDP_BACK}; RFC 768 and RFC 8200: lengths of 16 bits, less the headers",
    ),
    Clause(id="udp-values", title="All 256 byte values come back unchanged", basis=UDP_BACK),
    Clause(
        id="udp-source",
        title="The answer comes from the address and port that the datagram was sent to",
        basis=SOURCE,
        essential=True,
    ),
    Clause(
        id="udp-source-other",
        title="A datagram to another address of the same machine (127.0.0.2) is answered from that address",
        basis=SOURCE,
    ),
    Clause(
        id="udp-connected",
        title="A connected socket, which takes answers from the server's address only, gets its answer",
        basis=SOURCE,
    ),
    Clause(id="udp-once", title="Each datagram is answered once", basis='RFC 862: "an answering datagram"'),
    Clause(
        id="udp-burst",
        title="64 datagrams that are sent at once are all answered",
        basis=f"{UDP_BACK}; lost datagrams are sent again, a bounded number of times",
    ),
    Clause(
        id="udp-ports",
        title="Many source ports get their own answers",
        basis='RFC 862: "an echo service simply sends back to the originating source any data it receives"',
    ),
    Clause(
        id="udp-loop-guard",
        title="Is a datagram from port 7, 19 or 53 answered? (observed, not required)",
        basis="CVE-1999-0103, CVE-2024-2169: a forged source makes two services answer each other for ever",
        required=False,
    ),
)

CLAUSES: Final = (*TCP, *UDP)

"""What twistd and twist find: one ServiceMaker, which imports nothing of ours until it is asked for."""

from twisted.application.service import ServiceMaker

echobench = ServiceMaker(
    "echobench",
    "echobench.server.plugin.tap",
    "An echo server (RFC 862) for TCP and UDP, IPv6 and IPv4, as fast as this machine lets it be.",
    "echobench",
)

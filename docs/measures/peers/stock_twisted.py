"""Twisted's own Echo over TCP, and its documentation's DatagramProtocol over UDP.

stock_twisted.py PORT                           TCP and UDP
stock_twisted.py PORT --tls CERTIFICATE KEY     TLS alone
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402  (the reactor has to be installed first)
from twisted.internet.protocol import DatagramProtocol, Factory  # noqa: E402
from twisted.internet.ssl import PrivateCertificate  # noqa: E402
from twisted.protocols.wire import Echo  # noqa: E402


class EchoDatagrams(DatagramProtocol):
    noisy = False

    def datagramReceived(self, datagram, addr):
        self.transport.write(datagram, addr)


port = int(sys.argv[1])
factory = Factory.forProtocol(Echo)
factory.noisy = False
if "--tls" in sys.argv:
    certificate, key = (Path(name).read_bytes() for name in sys.argv[sys.argv.index("--tls") + 1 :][:2])
    options = PrivateCertificate.loadPEM(certificate + key).options()
    reactor.listenSSL(port, factory, options, backlog=4096, interface="127.0.0.1")
else:
    reactor.listenTCP(port, factory, backlog=4096, interface="127.0.0.1")
    reactor.listenUDP(port, EchoDatagrams(), interface="127.0.0.1", maxPacketSize=65536)
reactor.run()

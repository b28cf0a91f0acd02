"""The client's side of TLS: trust roots, and the name to expect."""

from __future__ import annotations

import re
from typing import Any, Final

from OpenSSL import SSL, crypto
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from zope.interface import implementer

from ....reading import contents
from ....values import shown
from ...run.plan import Plan
from .. import LoadError

LARGEST: Final = 1 << 24
"""Bytes in a file of trust roots; those that systems trust have some hundred thousand."""
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def connection_creator(plan: Plan) -> Any:
    """Return Twisted's creator of client TLS connections for a plan.

    Raises LoadError.
    """
    name = plan.server_name or plan.host
    try:
        if plan.insecure:
            return Unverified(name)
        return optionsForClientTLS(name, trustRoot=_roots(plan.ca) if plan.ca else None)
    except (UnicodeError, ValueError) as error:
        raise LoadError(f"{shown(name)} cannot be the name in a certificate: {error}") from None


@implementer(IOpenSSLClientConnectionCreator)
class Unverified:
    """Accepts any certificate; still sends the server's name (RFC 6066, section 3)."""

    def __init__(self, name: str) -> None:
        # Section 3 does not allow addresses as names.
        self._name = None if isIPAddress(name) or isIPv6Address(name.partition("%")[0]) else name.encode("idna")
        self._context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make the TLS side of one connection."""
        connection = SSL.Connection(self._context, None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def _roots(path: str) -> Any:
    try:
        found = _PEM.findall(contents(path, LARGEST))
    except OSError as error:
        raise LoadError(f"the trust roots in {path} cannot be read: {error.strerror}; give --ca a file") from None
    if not found:
        raise LoadError(f"there is no certificate in {path}: give --ca a file of certificates in PEM")
    try:
        return trustRootFromCertificates([Certificate.loadPEM(each) for each in found])
    except (ValueError, crypto.Error):
        raise LoadError(f"a certificate in {path} cannot be read: give --ca a file of certificates in PEM") from None

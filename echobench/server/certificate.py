"""Loads a server's certificate and private key from PEM files.

Whatever is wrong with them is told in one sentence.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL.SSL import Error as SSLError
from twisted.internet.ssl import CertificateOptions

from ..errors import EchobenchError
from ..reading import contents
from ..values import readable

LARGEST: Final = 1 << 20
"""Bytes in a file of certificates or keys; a chain has some thousands."""


class CertificateError(EchobenchError):
    """A certificate or key that cannot be used; the message is one sentence."""


@attrs.frozen
class Files:
    """The names and contents of a certificate's file and its key's: what a worker is given, which may read neither."""

    certificate: str
    pem: str
    key_file: str
    key_pem: str = attrs.field(repr=False)


def load_certificate(certificate: str, private_key: str | None = None, now: datetime.datetime | None = None) -> Any:
    """Load CertificateOptions from a certificate file and a key file.

    The certificate's file has the server's own certificate first, then its chain.

    Without ``private_key`` the key is looked for in the certificate's file. Raises CertificateError.
    """
    return certificate_options(read_files(certificate, private_key), now)


def read_files(certificate: str, private_key: str | None = None) -> Files:
    """Read both files. Raises CertificateError."""
    key_file = private_key or certificate
    pem, key_pem = _read("certificate", certificate), _read("private key", key_file)
    return Files(certificate, pem.decode("latin-1"), key_file, key_pem.decode("latin-1"))


def certificate_options(files: Files, now: datetime.datetime | None = None) -> Any:
    """Make CertificateOptions of what was read. Raises CertificateError."""
    certificate, key_file = files.certificate, files.key_file
    pem, key_pem = files.pem.encode("latin-1"), files.key_pem.encode("latin-1")
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(
            f"{certificate} holds no certificate in PEM form: give one with --certificate"
        ) from error
    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError as error:
        raise CertificateError(
            f"the private key in {key_file} is encrypted: 'openssl pkey -in {key_file}' writes it without a passphrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{key_file} holds no private key in PEM form that can be used: give one with --private-key"
        ) from error
    own = chain[0]
    try:
        same = _public(own.public_key()) == _public(key.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"the certificate in {certificate} has a key that cannot be used: {error}") from error
    if not same:
        raise CertificateError(f"the private key in {key_file} does not belong to the certificate in {certificate}")
    now = now or datetime.datetime.now(datetime.timezone.utc)
    if own.not_valid_after_utc < now:
        raise CertificateError(
            f"the certificate in {certificate} expired on {own.not_valid_after_utc:%Y-%m-%d}: renew it"
        )
    if own.not_valid_before_utc > now:
        raise CertificateError(
            f"the certificate in {certificate} is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: "
            "is the clock right?"
        )
    try:
        # Since 24.3 pyOpenSSL takes the objects of cryptography. Twisted's annotations do not know that yet.
        material: dict[str, Any] = {"privateKey": key, "certificate": own, "extraCertChain": chain[1:]}
        options = CertificateOptions(**material)
        options.getContext()  # now, not at the first client: OpenSSL may find the key too weak
    except MemoryError as error:
        raise CertificateError(
            f"TLS is not available here: {error} (systemd's MemoryDenyWriteExecute forbids it)"
        ) from error
    except SSLError as error:
        raise CertificateError(f"OpenSSL will not use the certificate in {certificate}: {error}") from error
    return options


def _read(what: str, name: str) -> bytes:
    try:
        return contents(name, LARGEST)
    except OSError as error:
        raise CertificateError(f"the {what} {readable(name)} cannot be read: {error.strerror or error}") from error


def _public(key: Any) -> bytes:
    der: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der

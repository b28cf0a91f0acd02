"""A TLS client that verifies the server's name, and a server for it with a certificate made on the spot."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import react
from twisted.python.failure import Failure

import echobench


class Ask(Protocol):
    """Sends a text, closes when as many bytes have come back, and gives them to ``answer``."""

    def __init__(self, text: bytes) -> None:
        self.text, self.got = text, b""
        self.answer: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.text)

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if len(self.got) >= len(self.text):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if len(self.got) >= len(self.text):
            self.answer.callback(self.got)
        else:
            self.answer.errback(reason)


def certificate_for(name: str) -> tuple[bytes, bytes]:
    """Make a certificate that a name signs for itself, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        made.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


async def main(reactor: object) -> None:
    certificate, key = certificate_for("localhost")
    server = echobench.EchoService(
        None,
        ["127.0.0.1"],
        tls_port=0,
        tls_options=PrivateCertificate.loadPEM(certificate + key).options(),
        reactor=reactor,
    )
    server.startService()
    [(_, address)] = server.addresses()
    tcp = HostnameEndpoint(reactor, "127.0.0.1", address.port)

    trusted = Certificate.loadPEM(certificate)  # leave trustRoot out to trust what the system trusts
    options = optionsForClientTLS("localhost", trustRoot=trusted)
    client = await connectProtocol(wrapClientTLS(options, tcp), Ask(b"hello over TLS"))
    print("answer:", await client.answer)

    wrong = optionsForClientTLS("example.org", trustRoot=trusted)
    client = await connectProtocol(wrapClientTLS(wrong, tcp), Ask(b"not for you"))
    try:
        await client.answer
    except Exception as error:  # noqa: BLE001 (whatever it is, it has to be shown)
        print("as example.org it is refused:", repr(error))
    await server.stopService()


if __name__ == "__main__":
    echobench.install_best_reactor()
    react(main)

"""A service that serves TLS, and clients that trust it."""

from __future__ import annotations

import ssl

import pytest
from rigs import certificates

from echobench.server.certificate import load_certificate


@pytest.fixture
def certified(tmp_path):
    return certificates.make(tmp_path)


@pytest.fixture
def serve_tls(serve, certified):
    def start(**options):
        loaded = load_certificate(str(certified.certificate), str(certified.key))
        return serve(None, ("127.0.0.1",), tls_port=0, tls_options=loaded, **options)

    return start


def wrap(sock, certified, **how):
    """Shake hands over a connected socket, as a client that trusts the certificate of ``certified``."""
    context = ssl.create_default_context(cafile=str(certified.certificate))
    return context.wrap_socket(sock, server_hostname="echo.example", **how)

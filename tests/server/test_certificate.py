"""Certificates that cannot be used: one sentence for each."""

from __future__ import annotations

import os

import pytest
from rigs import certificates
from rigs.certificates import DAY, NOW

from echobench.server.certificate import CertificateError, load_certificate, read_files


def test_a_good_one(tmp_path):
    pair = certificates.make(tmp_path)
    assert load_certificate(str(pair.certificate), str(pair.key)).certificate is not None


def test_no_log_shows_the_key(tmp_path):
    pair = certificates.make(tmp_path)
    assert "PRIVATE KEY" not in repr(read_files(str(pair.certificate), str(pair.key)))


def test_key_and_chain_in_one_file(tmp_path):
    pair, other = certificates.make(tmp_path), certificates.make(tmp_path, "chain.example")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + other.certificate.read_bytes() + pair.key.read_bytes())
    assert len(load_certificate(str(both)).extraCertChain) == 1


def refused(pattern, certificate, key=None):
    with pytest.raises(CertificateError, match=pattern) as caught:
        load_certificate(str(certificate), key and str(key))
    assert "\n" not in str(caught.value)


def test_missing(tmp_path):
    pair = certificates.make(tmp_path)
    refused("certificate .*nowhere cannot be read: No such file", tmp_path / "nowhere")
    refused("private key .*nowhere cannot be read: No such file", pair.certificate, tmp_path / "nowhere")


needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")


@needs_pipes
@pytest.mark.parametrize("as_key", [False, True])
def test_no_file(tmp_path, as_key):
    """A pipe would be waited for, and a device never end."""
    pair = certificates.make(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path, tmp_path / "pipe", "/dev/zero", "/dev/null"):
        named = (pair.certificate, name) if as_key else (name, None)
        what = "private key" if as_key else "certificate"
        refused(f"the {what} {name} cannot be read: it is a directory, a pipe or a device", *named)


def test_a_name_that_is_none():
    refused("the certificate 'a\\\\nb' cannot be read: No such file", "a\nb")
    refused(r"the certificate .x+\.\.\.x+. cannot be read: File name too long", 256 * "x")


def test_no_pem(tmp_path):
    pair = certificates.make(tmp_path)
    (tmp_path / "garbage").write_bytes(b"\0\1\2 not a certificate")
    refused("holds no certificate in PEM form", tmp_path / "garbage", pair.key)
    refused("holds no private key in PEM form", pair.certificate, tmp_path / "garbage")
    refused("holds no private key in PEM form", pair.certificate)


def test_expired(tmp_path):
    pair = certificates.make(tmp_path, start=NOW - 3 * DAY, end=NOW - DAY)
    refused(f"expired on {NOW - DAY:%Y-%m-%d}: renew it", *pair)


def test_not_yet_valid(tmp_path):
    refused("is not valid before .* is the clock right", *certificates.make(tmp_path, start=NOW + DAY / 2))


def test_a_key_that_belongs_to_another(tmp_path):
    one, other = certificates.make(tmp_path), certificates.make(tmp_path, "other.example")
    refused("does not belong to the certificate", one.certificate, other.key)


def test_an_encrypted_key(tmp_path):
    refused("is encrypted: 'openssl pkey", *certificates.make(tmp_path, passphrase=b"secret"))

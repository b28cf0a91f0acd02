"""Real clients, as people try an echo server with."""

from __future__ import annotations

import subprocess

import pytest
from rigs import certificates
from rigs.helpers import both_families, has_ipv6, pattern, program

pytestmark = pytest.mark.slow

DATA = pattern(200_000)


def talk(command, data):
    done = subprocess.run(command, input=data, capture_output=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


@both_families
def test_openbsd_netcat(launch, host):
    nc = program("nc")
    if "OpenBSD" not in subprocess.run([nc, "-h"], capture_output=True, text=True).stderr:
        pytest.skip("this nc is not OpenBSD's")
    server = launch()
    family = "-6" if ":" in host else "-4"
    assert talk([nc, family, "-N", "-w", "10", host, str(server.port())], DATA) == DATA
    assert talk([nc, family, "-u", "-w", "1", host, str(server.port())], b"a datagram") == b"a datagram"


@both_families
def test_ncat(launch, host):
    ncat = program("ncat")
    server = launch()
    assert talk([ncat, host, str(server.port())], DATA) == DATA


@both_families
def test_socat(launch, host):
    socat = program("socat")
    server = launch()
    where = f"[{host}]" if ":" in host else host
    assert talk([socat, "-t", "10", "-", f"TCP:{where}:{server.port()}"], DATA) == DATA
    assert talk([socat, "-t", "1", "-T", "2", "-", f"UDP:{where}:{server.port()}"], b"datagram") == b"datagram"


def test_openssl(launch, tmp_path):
    openssl = program("openssl")
    pair = certificates.make(tmp_path)
    server = launch("--tls-port", "0", "--certificate", str(pair.certificate), "--private-key", str(pair.key))
    process = subprocess.Popen(
        [openssl, "s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-CAfile", pair.certificate,
         "-verify_hostname", "echo.example", "-connect", f"127.0.0.1:{server.port('tls')}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"through openssl\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"through openssl\n"
    process.stdin.close()
    process.stdout.close()
    assert process.wait(10) == 0


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_two_interfaces(launch):
    server = launch("--interface", "127.0.0.1", "--interface", "::1")
    assert f"tcp=127.0.0.1:{server.port()},[::1]:{server.port()}" in server.output

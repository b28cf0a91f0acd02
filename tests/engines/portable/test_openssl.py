"""OpenSSL's own calls: the same as pyOpenSSL's, beside them on the same connection."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from rigs import certificates

from echobench.engines.portable import openssl
from echobench.engines.portable.openssl import ROOM, bulk_calls
from echobench.engines.portable.records import LARGEST


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    pair = certificates.make(tmp_path_factory.mktemp("certificate"))
    made = SSL.Context(SSL.TLS_METHOD)
    made.use_certificate_chain_file(str(pair.certificate))
    made.use_privatekey_file(str(pair.key))
    return made


def connected(context, version=SSL.TLS1_3_VERSION):
    """Two connections whose hands are shaken: ours and the peer's."""
    theirs = SSL.Context(SSL.TLS_METHOD)
    theirs.set_max_proto_version(version)
    ours, peer = SSL.Connection(context, None), SSL.Connection(theirs, None)
    ours.set_accept_state()
    peer.set_connect_state()
    for _ in range(3):
        for one, other in ((peer, ours), (ours, peer)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            pass_on(one, other)
    with pytest.raises(SSL.WantReadError):  # takes in the tickets
        peer.recv(1)
    return ours, peer


def pass_on(one, other):
    """Carry what one has for the other."""
    try:
        while True:
            other.bio_write(one.bio_read(1 << 16))
    except SSL.WantReadError:
        pass


def sealed(peer, data, piece=LARGEST):
    """Encrypt in records of a size; give them and their number."""
    pieces = [data[i : i + piece] for i in range(0, len(data), piece)]
    for each in pieces:
        peer.send(each)
    return b"".join(iter(lambda: drawn(peer), b"")), len(pieces)


def drawn(peer):
    try:
        return peer.bio_read(1 << 16)
    except SSL.WantReadError:
        return b""


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_there_and_back(context, version):
    ours, peer = connected(context, version)
    bulk = bulk_calls(ours)

    @given(data=st.binary(min_size=1, max_size=3 * LARGEST), piece=st.integers(1000, LARGEST))
    def check(data, piece):
        came, records = sealed(peer, data, piece)
        pieces = []
        bulk.open(came, records, pieces)
        assert pieces == [data]
        done, sent = bulk.seal(data)
        assert done == len(data)
        answer = bytearray()
        peer.bio_write(sent)
        assert bulk.rest() == b""
        while len(answer) < len(data):
            answer += peer.recv(LARGEST)
        assert answer == data

    check()


def test_more_than_there_is_room_for(context):
    ours, peer = connected(context)
    bulk = bulk_calls(ours)
    data = bytes(range(256)) * (ROOM // 128)
    came, records = sealed(peer, data)
    pieces = []
    bulk.open(came, records, pieces)
    assert len(pieces) > 1
    assert b"".join(pieces) == data
    done, first = bulk.seal(data)
    assert done == len(data)
    sent = [first, bulk.rest(), bulk.rest()]
    assert list(map(len, sent[:2])) == [ROOM, ROOM]
    peer.bio_write(b"".join(sent))
    answer = bytearray()
    while len(answer) < len(data):
        answer += peer.recv(LARGEST)
    assert answer == data


def test_what_comes_before_an_end_counts(context):
    ours, peer = connected(context)
    bulk = bulk_calls(ours)
    peer.send(b"last words")
    peer.shutdown()
    pieces = []
    with pytest.raises(SSL.ZeroReturnError):
        bulk.open(drawn(peer), 2, pieces)
    assert pieces == [b"last words"]


def test_half_a_record_is_waited_for(context):
    ours, peer = connected(context)
    bulk = bulk_calls(ours)
    came, _ = sealed(peer, b"x" * 100)
    with pytest.raises(SSL.WantReadError):
        bulk.open(came[:50], 1, [])
    pieces = []
    bulk.open(came[50:], 1, pieces)
    assert pieces == [b"x" * 100]


def test_bytes_that_are_no_tls(context):
    ours, _ = connected(context)
    bulk = bulk_calls(ours)
    with pytest.raises(SSL.Error):
        bulk.open(b"GET / HTTP/1.0\r\n\r\n", 1, [])
    assert bulk.seal(b"x")[0] == 0
    with pytest.raises(SSL.Error):
        ours.send(b"x")


def test_without_what_is_private_there_is_none(context, monkeypatch):
    ours, _ = connected(context)
    assert bulk_calls(ours) is not None
    monkeypatch.setattr(openssl, "PRIVATE", ("_no_such_thing",))
    assert bulk_calls(ours) is None
    monkeypatch.undo()
    monkeypatch.setattr(openssl, "_FUNCTIONS", ("SSL_no_such_call",))
    assert bulk_calls(ours) is None

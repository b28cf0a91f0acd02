"""Where flows are bound: the rule, and what servers see of it."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import truth
from rigs.books import plan
from rigs.helpers import needs_linux

from echobench.bench.load import LoadError
from echobench.bench.load.sources import bind_failure, binding, check_family


def test_the_rule():
    two = plan(flows=5, sources=("127.0.0.1", "127.0.0.2"), source_ports=(9000, 9002))
    assert [binding(two, flow) for flow in range(5)] == [
        ("127.0.0.1", 9000), ("127.0.0.2", 9000), ("127.0.0.1", 9001), ("127.0.0.2", 9001), ("127.0.0.1", 9002),
    ]  # fmt: skip


def test_what_is_not_given_is_any():
    assert binding(plan(), 3) == ("", 0)
    assert binding(plan(flows=4, source_ports=(9000, 9003)), 3) == ("", 9003)
    assert binding(plan(sources=("127.0.0.1", "127.0.0.2")), 3) == ("127.0.0.2", 0)


@given(st.integers(0, 4), st.integers(1, 60), st.integers(1, 40))
def test_no_two_flows_are_bound_alike(sources, ports, first):
    addresses = tuple(f"127.0.0.{number}" for number in range(1, sources + 1))
    flows = ports * max(1, sources)
    full = plan(flows=flows, sources=addresses, source_ports=(first, first + ports - 1))
    bound = [binding(full, flow) for flow in range(flows)]
    assert len(set(bound)) == flows
    assert all(first <= port < first + ports for _, port in bound)


def test_families():
    check_family(plan(sources=("127.0.0.1",)), "127.0.0.2")
    check_family(plan(sources=("::1", "fe80::1%lo")), "::1")
    with pytest.raises(LoadError, match=r"127\.0\.0\.1 cannot send to ::1"):
        check_family(plan(sources=("::1", "127.0.0.1")), "::1")


def test_every_failure_has_a_sentence():
    import errno

    for number in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EMFILE, errno.EIO, None):
        said = str(bind_failure(("", 0), number, "why"))
        assert ":" in said
        assert "None" not in said


@needs_linux
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_servers_see_it(blast, transport):
    with socket.socket() as probe:
        probe.bind(("127.0.0.3", 0))
        free = probe.getsockname()[1]
    with truth.UDP() if transport == "udp" else truth.TCP() as server:
        blast(
            server.port, transport=transport, flows=2, sources=("127.0.0.3", "127.0.0.4"),
            source_ports=(free, free), count=20,
        )  # fmt: skip
    assert server.peers == {("127.0.0.3", free), ("127.0.0.4", free)}


@needs_linux
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_flows_are_counted_over_all_processes(blast, transport):
    """The second process has the second flow of two, and so the second address."""
    with truth.UDP() if transport == "udp" else truth.TCP() as server:
        blast(
            server.port, transport=transport, flows=2, processes=2, share=1, sources=("127.0.0.3", "127.0.0.4"),
            count=20,
        )  # fmt: skip
    assert {host for host, _ in server.peers} == {"127.0.0.4"}

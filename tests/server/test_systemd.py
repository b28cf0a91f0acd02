"""What a service manager hands over and is told."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from echobench.server.plugin.systemd import Inherited, inherited_sockets, notify, watchdog_interval

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither systemd nor Unix sockets")


def environ(**values):
    return {"LISTEN_PID": str(os.getpid()), **values}


@pytest.fixture
def descriptors():
    """Two adjacent descriptors, as systemd passes them: the first free number after the highest."""
    high = 200
    socks = [socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
    for i, sock in enumerate(socks):
        os.dup2(sock.fileno(), high + i)
        sock.close()
    yield high
    for i in range(2):
        try:
            os.close(high + i)
        except OSError:
            continue


def close(inherited):
    for sock in (*inherited.plain, *inherited.tls):
        sock.close()


def test_nothing_without_the_variables():
    assert not inherited_sockets({})
    assert inherited_sockets({"LISTEN_FDS": "1", "LISTEN_PID": "1"}) == Inherited(), "they are for another process"


def test_sockets_without_names(descriptors):
    env = environ(LISTEN_FDS="2")
    found = inherited_sockets(env, descriptors)
    assert [sock.fileno() for sock in found.plain] == [descriptors, descriptors + 1]
    assert [sock.type for sock in found.plain] == [socket.SOCK_STREAM, socket.SOCK_DGRAM]
    assert not any(sock.getblocking() or sock.get_inheritable() for sock in found.plain)
    assert env == {}, "no child shall take them too"
    close(found)


def test_names_tell_tls(descriptors):
    found = inherited_sockets(environ(LISTEN_FDS="2", LISTEN_FDNAMES="tls:echo.socket"), descriptors)
    assert [sock.fileno() for sock in found.tls] == [descriptors]
    assert [sock.fileno() for sock in found.plain] == [descriptors + 1]
    close(found)


def test_nonsense():
    with pytest.raises(ValueError, match="LISTEN_FDS is 'two'"):
        inherited_sockets(environ(LISTEN_FDS="two"))
    with pytest.raises(ValueError, match="descriptor 900, which LISTEN_FDS says was handed over, is no socket"):
        inherited_sockets(environ(LISTEN_FDS="1"), 900)


@pytest.mark.parametrize("count", ["", "-1", "1.5", " 1", "1_0", "\u0661", "0x1", "9" * 5000, "1\n", "nan"])
def test_what_is_no_number_of_sockets(count):
    with pytest.raises(ValueError, match=r"^LISTEN_FDS is .*, where the service manager puts a number") as caught:
        inherited_sockets(environ(LISTEN_FDS=count))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("count", ["99999999999", "9" * 18])
def test_more_sockets_than_there_can_be(descriptors, count):
    """The first that is none ends it: nothing is made as long as the number says."""
    with pytest.raises(ValueError, match=f"descriptor {descriptors + 2}, which LISTEN_FDS says"):
        inherited_sockets(environ(LISTEN_FDS=count), descriptors)


@pytest.mark.parametrize("names", ["", ":", "::::::::", "tls:" * 3000, "\udcff:x"])
def test_more_or_fewer_names_than_sockets(descriptors, names):
    found = inherited_sockets(environ(LISTEN_FDS="2", LISTEN_FDNAMES=names), descriptors)
    assert len(found.plain) + len(found.tls) == 2
    close(found)


def test_none_at_all():
    assert not inherited_sockets(environ(LISTEN_FDS="0"))


@pytest.mark.parametrize("pid", ["", "x", "-1", "9" * 5000])
def test_a_process_id_that_is_not_ours(pid):
    assert not inherited_sockets({"LISTEN_FDS": "1", "LISTEN_PID": pid})


@pytest.mark.parametrize("name", ["", "x", "@", "/", "/" + "x" * 200, "@" + "x" * 200, "/a\0b", "/\udcff", "vsock:2:1"])
def test_places_where_no_manager_can_be(name):
    assert not notify("READY=1", {"NOTIFY_SOCKET": name})


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tmp_path, abstract):
    name = f"@echobench-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(5)
        assert notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


def test_a_manager_that_does_not_listen_stops_no_server(tmp_path):
    """The queue of a Unix socket takes some ten datagrams (net.unix.max_dgram_qlen)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        sent = [notify("WATCHDOG=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")}) for _ in range(10_000)]
    assert sent[0]
    assert not sent[-1]


def test_nobody_to_notify(tmp_path):
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})


def test_no_descriptor_left_to_notify_with(tmp_path, monkeypatch):
    def none_left(*args):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("echobench.server.plugin.systemd.socket.socket", none_left)
    assert not notify("STOPPING=1", {"NOTIFY_SOCKET": str(tmp_path / "n")})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_how_often_the_watchdog_wants_to_hear(values, expected):
    assert watchdog_interval(values) == expected

"""The program itself, under every runner: how it starts, how it fails to, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rigs import certificates
from rigs.helpers import (
    ServerProcess,
    ask,
    both_families,
    can_bind,
    dial,
    exchange,
    fill,
    is_root,
    needs_linux,
    pattern,
    read_exactly,
    run,
    wait_for,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="twistd daemonizes and takes signals on POSIX systems")


@pytest.fixture
def taken():
    """A TCP port that somebody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@both_families
def test_port_0_takes_one_number_and_says_it(launch, host):
    server = launch()
    number = server.port()
    assert exchange(number, [b"tcp"], host) == b"tcp"
    assert ask(number, b"udp", host) == b"udp"


def test_ends_on_sigterm_as_twistd_does(launch):
    server = launch("--interface", "127.0.0.1")
    assert server.stop() == -signal.SIGTERM
    assert "Traceback" not in server.output


def test_under_twist(launch):
    server = launch(command=[*ServerProcess.TWIST, "echobench", "--port", "0", "--interface", "127.0.0.1"])
    assert exchange(server.port(), [b"twist"]) == b"twist"
    assert server.stop() == -signal.SIGTERM
    assert "Traceback" not in server.output


@pytest.mark.slow
def test_a_stop_lets_a_slow_peer_have_what_was_read(launch):
    server = launch("--interface", "127.0.0.1", "--close-timeout", "10")
    with dial(server.port()) as sock:
        fill(sock, 64 << 20)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "shutting down" in server.output)
        wait_for(lambda: refuses(server.port()))
        got = bytearray()
        while data := sock.recv(1 << 20):
            got += data
        assert len(got) > 1 << 20
        assert bytes(got) == pattern(len(got))
    assert server.wait() == -signal.SIGTERM


def refuses(port):
    try:
        dial(port).close()
    except OSError:
        return True
    return False


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(launch):
    server = launch("--interface", "127.0.0.1", "--close-timeout", "600")
    with dial(server.port()) as sock:
        fill(sock, 64 << 20)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "shutting down" in server.output)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
    assert "asked to stop a second time" in server.output
    assert "Traceback" not in server.output


@pytest.mark.slow
def test_the_deadline_ends_a_stuck_peer(launch):
    server = launch("--interface", "127.0.0.1", "--close-timeout", "0.5")
    with dial(server.port()) as sock:
        fill(sock, 64 << 20)
        began = time.monotonic()
        assert server.stop() == -signal.SIGTERM
        assert 0.4 < time.monotonic() - began < 10


def failing(tmp_path, *command):
    done = run(command, tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    return done.stdout


def test_a_bind_that_fails_under_twistd_n(tmp_path, taken):
    said = failing(tmp_path, *ServerProcess.TWISTD, "-n", "echobench", "--port", str(taken), "--interface", "127.0.0.1")
    assert said.count(f"echobench: TCP port {taken} on 127.0.0.1 is in use by another program: stop that one, or") == 1
    assert not (tmp_path / "twistd.pid").exists()


def test_a_bind_that_fails_in_a_daemon(tmp_path, taken):
    """The parent says it and ends, no pidfile is left, and the log has the whole sentence."""
    said = failing(tmp_path, *ServerProcess.TWISTD, "echobench", "--port", str(taken), "--interface", "127.0.0.1")
    assert f"echobench: TCP port {taken} on 127.0.0.1 is in use by another program" in said
    wait_for(lambda: "or take another port" in (tmp_path / "twistd.log").read_text())
    assert "Traceback" not in (tmp_path / "twistd.log").read_text()
    assert not (tmp_path / "twistd.pid").exists()


def test_a_bind_that_fails_under_twist(tmp_path, taken):
    said = failing(tmp_path, *ServerProcess.TWIST, "echobench", "--port", str(taken), "--interface", "127.0.0.1")
    assert said.count("is in use by another program") == 1


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("limit", [9, 12, 17, 19])
def test_too_few_descriptors_to_serve_anybody(tmp_path, limit):
    """The reactor needs some when it starts, after the server would have said that it is ready."""
    few = (
        "import os, resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    said = failing(
        tmp_path, sys.executable, "-c", few, *ServerProcess.TWISTD, "-n", "echobench", "--port", "0", "--interface",
        "127.0.0.1",
    )  # fmt: skip
    assert f"no file descriptor is left ('ulimit -n' is {limit}): raise the limit to 32" in said
    assert "ready" not in said


def test_one_number_for_tcp_and_tls(tmp_path):
    pair = certificates.make(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = str(probe.getsockname()[1])
    said = failing(
        tmp_path, *ServerProcess.TWISTD, "-n", "echobench", "--port", number, "--tls-port", number, "--interface",
        "127.0.0.1", "--certificate", str(pair.certificate), "--private-key", str(pair.key),
    )  # fmt: skip
    assert f"TLS port {number} on 127.0.0.1 is this server's TCP port too: give each a number of its own" in said


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("runner", [(*ServerProcess.TWISTD, "-n"), ServerProcess.TWISTD, ServerProcess.TWIST])
def test_port_7_without_privilege(tmp_path, runner):
    """Root without the capability is as good as nobody."""
    prefix = without_privilege()
    said = failing(tmp_path, *prefix, *runner, "echobench")
    for way in ("root with --uid", "systemd socket", "port 7007"):
        assert way in said
    assert not (tmp_path / "twistd.pid").exists()


def without_privilege():
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 7:
        pytest.skip("this kernel lets every user bind port 7")
    if not is_root:
        return []
    drop = (
        "import ctypes, os, sys\n"
        "assert ctypes.CDLL(None).prctl(24, 10, 0, 0, 0) == 0\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", drop]  # PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE (linux/prctl.h, linux/capability.h)


def test_a_daemon_serves_and_ends(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    done = run([*ServerProcess.TWISTD, "echobench", "--port", str(number), "--interface", "127.0.0.1"], tmp_path)
    assert done.returncode == 0, done.stdout
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        assert exchange(number, [b"daemon"]) == b"daemon"
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not (tmp_path / "twistd.pid").exists())
    assert "Traceback" not in (tmp_path / "twistd.log").read_text()


@pytest.mark.skipif(not is_root, reason="only root can change to another user")
def test_privilege_is_given_up_after_the_sockets_are_bound(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = next(n for n in range(600, 1024) if can_bind(n))
    command = [*ServerProcess.TWISTD, "-n", "--pidfile=", "--uid", "65534", "--gid", "65534"]
    server = ServerProcess(command=[*command, "echobench", "-p", str(number), "--interface", "127.0.0.1"], cwd=tmp_path)
    try:
        server.wait_ready()
        status = Path(f"/proc/{server.pid}/status").read_text() if sys.platform == "linux" else "Uid:\t65534"
        assert re.search(r"Uid:\t65534", status)
        assert exchange(number, [b"nobody"]) == b"nobody"
    finally:
        server.kill()


@needs_linux
def test_socket_activation_and_readiness(tmp_path):
    """As systemd does it: sockets from descriptor 3 on, LISTEN_PID set by whoever executes, a socket to notify."""
    pair = certificates.make(tmp_path)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(20)
    stream, secure = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(("127.0.0.1", 0))
    socks = (stream, datagram, secure)
    numbers = [sock.getsockname()[1] for sock in socks]
    activate = (
        "import os, sys\n"
        "fds = [int(fd) for fd in sys.argv[1].split(',')]\n"
        "high = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]\n"
        "[os.dup2(fd, 3 + i) for i, fd in enumerate(high)]\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES='echo:echo:tls')\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    fds = [sock.fileno() for sock in socks]
    server = ServerProcess(
        command=[sys.executable, "-c", activate, ",".join(map(str, fds)), *ServerProcess.TWISTD, "-n", "--pidfile=",
                 "echobench", "--certificate", str(pair.certificate), "--private-key", str(pair.key)],
        cwd=tmp_path, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}, pass_fds=fds,
    )  # fmt: skip
    try:
        server.wait_ready()
        said = notify.recv(1000).decode()
        assert said.startswith("READY=1\nSTATUS=port=")
        assert exchange(numbers[0], [b"activated"]) == b"activated"
        assert ask(numbers[1], b"activated") == b"activated"
        assert f"tls=127.0.0.1:{numbers[2]}" in server.output
        assert f":{numbers[0]}" in server.output
        server.process.send_signal(signal.SIGTERM)
        assert notify.recv(1000) == b"STOPPING=1"
        server.wait()
    finally:
        server.kill()
        for sock in (*socks, notify):
            sock.close()


def test_statistics_live(launch):
    server = launch("--interface", "127.0.0.1", "--stats-interval", "0.1")
    number = server.port()
    exchange(number, [pattern(100_000)])
    for _ in range(5):
        ask(number, b"12345678")
    wait_for(lambda: re.search(r"stats connections=\d+ .*datagrams/s=[1-9]", server.output))
    wait_for(lambda: re.search(r"stats .*stream_bytes/s=[1-9]", server.output))
    assert re.search(
        r"stats connections=\d+ reads/s=\d+ stream_bytes/s=\d+ datagrams/s=\d+ datagram_bytes/s=\d+ drops=none",
        server.output,
    )


@needs_linux
@pytest.mark.skipif(not is_root, reason="a port below 1024 needs root")
def test_drops_show_in_the_statistics(launch):
    server = launch("--interface", "127.0.0.1", "--stats-interval", "0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as low:
        low.bind(("127.0.0.1", next(n for n in range(1, 1024) if can_bind(n))))
        low.sendto(b"loop?", ("127.0.0.1", server.port()))
        wait_for(lambda: "drops=source_port_low:1" in server.output)


def test_help(tmp_path):
    done = run([*ServerProcess.TWISTD, "echobench", "--help"], tmp_path)
    assert done.returncode == 0
    assert "RFC 862" in done.stdout
    assert "--udp-rate=" in done.stdout


def test_a_warning_where_the_receive_buffer_is_clipped(launch):
    server = launch("--interface", "127.0.0.1", "--receive-buffer", "1023M")
    assert "asked for a receive buffer of 1072693248 bytes, the system gives" in server.output


@pytest.mark.slow
@needs_linux
def test_ten_thousand_silent_connections(launch):
    """With content through the last of them, and quick to say goodbye."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 10_200:
        pytest.skip(f"each end needs 10,200 descriptors, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 10_200), hard))
    server = launch("--interface", "127.0.0.1")
    socks = []
    try:
        for i in range(10_000):
            socks.append(dial(server.port(), source=f"127.0.{i % 4 + 1}.{i % 250 + 1}"))
        for sock in (socks[0], socks[5000], socks[-1]):
            sock.sendall(b"still there")
            assert read_exactly(sock, 11) == b"still there"
        assert "Traceback" not in server.output
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

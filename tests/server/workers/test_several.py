"""A server of several workers, as users see it: it serves, it ends, it is refused."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rigs import certificates
from rigs.crews import Flows, alive, children, talks, workers
from rigs.helpers import (
    LIMIT,
    ServerProcess,
    ask,
    both_families,
    dial,
    exchange,
    fill,
    needs_linux,
    pattern,
    read_to_end,
    run,
    unanswered,
    wait_for,
)
from rigs.seccomp import refusing

pytestmark = [needs_linux, pytest.mark.slow]


@both_families
def test_all_workers_serve_both_families(launch, host):
    server = launch("--workers", "2")
    assert "workers=2" in server.output
    assert sorted(workers(server)) == [0, 1]
    for _ in range(8):
        assert exchange(server.port(), [pattern(100_000)], host) == pattern(100_000)
        assert ask(server.port(), b"udp", host) == b"udp"


@pytest.mark.parametrize("number", ["1", None])
def test_one_worker_is_the_server_itself(launch, number):
    server = launch(*(["--workers", number] if number else []))
    assert children(server.pid) == []
    assert "workers=" not in server.output
    assert exchange(server.port(), [b"x"]) == b"x"


def test_auto_is_one_for_each_core(launch):
    from echobench.server.workers.cpus import cores

    server = launch("--workers", "auto")
    assert len(workers(server)) == (cores() if cores() > 1 else 0)


def test_the_parent_has_no_engine(launch):
    server = launch("--workers", "2")
    names = [os.readlink(path) for path in Path(f"/proc/{server.pid}/fd").iterdir()]
    assert "anon_inode:[io_uring]" not in names
    assert server.output.count("engine for streams") == server.output.count("worker 0: engine for streams") * 2


@pytest.mark.parametrize("runner", [ServerProcess.TWISTD, ServerProcess.TWIST])
def test_it_drains_and_ends_on_sigterm(launch, runner):
    options = ["-n", "--pidfile="] if runner == ServerProcess.TWISTD else []
    server = launch(command=[*runner, *options, "echobench", "--port", "0", "--workers", "2"])
    pids = [*workers(server).values()]
    with dial(server.port()) as sock:
        fill(sock, 64 << 20)
        server.process.send_signal(signal.SIGTERM)
        got = read_to_end(sock)
        assert len(got) > 1 << 20
        assert got == pattern(len(got)), "whatever was read is sent back"
    assert server.wait() == -signal.SIGTERM
    assert not any(map(alive, pids))
    assert "Traceback" not in server.output


def test_a_second_signal_ends_it_at_once(launch):
    server = launch("--workers", "2", "--close-timeout", "600")
    pids = [*workers(server).values()]
    with dial(server.port()) as sock:
        fill(sock, 64 << 20)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "shutting down" in server.output)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1.0)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
    assert not any(map(alive, pids))
    assert "asked to stop a second time" in server.output


def test_a_crash_while_draining(launch):
    server = launch("--workers", "2", "--close-timeout", "600")
    with talks(server.port(), [*workers(server).values()], 1) as by_pid:
        (one, (first, *_)), (two, (second, *_)) = by_pid.items()
        for talk in (first, second):
            fill(talk.sock, 64 << 20)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "shutting down" in server.output)
        os.kill(one, signal.SIGKILL)
        with pytest.raises(OSError, match="reset"):
            read_to_end(first.sock)
        got = read_to_end(second.sock)
        assert len(got) > 1 << 20, "the other one has all that was read of it"
        assert got == pattern(len(got))
    assert server.wait() == -signal.SIGTERM
    assert not alive(two)
    assert "Traceback" not in server.output


def test_systemd_style_a_signal_to_all_at_once(launch):
    """KillMode=control-group: the workers get it beside their parent."""
    server = launch("--workers", "2")
    for pid in (*workers(server).values(), server.pid):
        os.kill(pid, signal.SIGTERM)
    assert server.wait() == -signal.SIGTERM
    assert "Traceback" not in server.output


def test_signals_that_are_the_parents_do_nothing_to_a_worker(launch):
    """As systemctl kill sends them, to every process of a unit."""
    server = launch("--workers", "2")
    before = workers(server)
    for pid in before.values():
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT):
            os.kill(pid, number)
    assert all(exchange(server.port(), [b"x"]) == b"x" for _ in range(8))
    assert workers(server) == before


def test_sigterm_to_one_worker_has_it_drained_and_another_one_started(launch):
    server = launch("--workers", "2")
    before = workers(server)
    with talks(server.port(), [*before.values()], 1) as by_pid:
        os.kill(before[0], signal.SIGTERM)
        wait_for(lambda: f"process {before[0]}, has ended: status 0; it is started again" in server.output)
        assert by_pid[before[0]][0].sock.recv(1) == b"", "an end of file, and no reset"
        wait_for(lambda: server.output.count("serves, as process") == 3)
        assert by_pid[before[1]][0].exchange()


def test_ctrl_c_reaches_all_and_ends_all_in_order(launch):
    server = launch("--workers", "2", before=os.setsid)
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == -signal.SIGINT
    assert "Traceback" not in server.output


@pytest.mark.parametrize("stopped", [False, True])
def test_no_worker_outlives_its_parent(launch, stopped):
    server = launch("--workers", "3")
    pids = [*workers(server).values()]
    if stopped:
        os.kill(pids[0], signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    end = time.monotonic() + LIMIT
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(alive, pids))


def test_the_pipe_alone_ends_a_worker_too(launch, tmp_path):
    """As on systems without PR_SET_PDEATHSIG: here, of workers to whom the kernel has refused it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'echobench worker' in ' '.join(sys.orig_argv):\n"
        "    import ctypes\n"
        "    class Library:\n"
        "        def __init__(self, real): self.real = real\n"
        "        def __getattr__(self, name):\n"
        "            if name == 'prctl': raise AttributeError(name)\n"
        "            return getattr(self.real, name)\n"
        "    real = ctypes.CDLL\n"
        "    ctypes.CDLL = lambda *a, **k: Library(real(*a, **k))\n"
    )
    server = launch("--workers", "2", env={"PYTHONPATH": str(tmp_path)})
    pids = [*workers(server).values()]
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, pids)))


def test_a_second_server_is_refused(launch, tmp_path):
    server = launch("--workers", "2")
    for more in ([], ["--workers", "2"]):
        done = run([*ServerProcess.TWISTD, "-n", "--pidfile=", "echobench", "-p", str(server.port()), *more], tmp_path)
        assert done.returncode == 1
        assert f"TCP port {server.port()} is in use by another program" in done.stdout
        assert "Traceback" not in done.stdout


def test_tls(launch, tmp_path):
    pair = certificates.make(tmp_path)
    server = launch(
        "--workers", "2", "--no-tcp", "--no-udp", "--tls-port", "0", "--certificate", str(pair.certificate),
        "--private-key", str(pair.key), before=os.setsid,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(pair.certificate))

    def echo():
        raw = socket.create_connection(("127.0.0.1", server.port("tls")), LIMIT)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
            sock.sendall(b"secret")
            return sock.recv(100)

    assert [echo() for _ in range(8)] == [b"secret"] * 8
    assert "PRIVATE KEY" not in "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in workers(server).values())
    assert "PRIVATE KEY" not in "".join(Path(f"/proc/{pid}/environ").read_text() for pid in workers(server).values())
    # A renewed certificate is served once the workers have been replaced.
    renewed = certificates.make(tmp_path)
    assert renewed == pair
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: "all workers have been replaced" in server.output)
    context = ssl.create_default_context(cafile=str(pair.certificate))
    assert [echo() for _ in range(8)] == [b"secret"] * 8


def test_an_engine_that_cannot_start_ends_the_start_with_its_reason(tmp_path):
    done = run(
        [*ServerProcess.TWISTD, "-n", "--pidfile=", "echobench", "-p", "0", "--workers", "2", "--engine", "completion"],
        tmp_path,
        preexec_fn=refusing(["io_uring_setup"], "EPERM"),
    )
    assert done.returncode == 1
    assert re.search(
        r"echobench: worker [01] cannot serve: engine completion is not available: .+; the server ends", done.stdout
    )
    assert "Traceback" not in done.stdout


def test_an_engine_that_cannot_start_gives_way_and_says_so(launch):
    server = launch("--workers", "2", before=refusing(["io_uring_setup"], "EPERM"))
    assert re.search(r"worker 1: engine for streams: readiness \(completion is not available", server.output)
    assert exchange(server.port(), [b"x"]) == b"x"


def test_a_terminal_that_is_closed_ends_it(tmp_path):
    command = [*ServerProcess.TWISTD, "-n", "--pidfile=", "echobench", "--port", "0", "--workers", "2"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(command[0], command)
    said = b""
    try:
        while b"echobench ready" not in said:
            said += os.read(terminal, 4096)
        found = children(pid)
        assert len(found) == 2
    finally:
        os.close(terminal)
    wait_for(lambda: not alive(pid))
    os.waitpid(pid, 0)
    wait_for(lambda: not any(map(alive, found)))


def test_limits_hold_over_all_workers(launch):
    server = launch("--workers", "2", "--max-connections", "12", "--max-connections-per-source", "9")
    served = {}
    opened = []
    try:
        for source, tries in (("127.0.0.1", 30), ("127.0.0.2", 30)):
            for _ in range(tries):
                sock = dial(server.port(), source=source)
                opened.append(sock)
                sock.sendall(b"x")
                try:
                    served[source] = served.get(source, 0) + (sock.recv(1) == b"x")
                except ConnectionResetError:
                    continue
    finally:
        for sock in opened:
            sock.close()
    assert served == {"127.0.0.1": 9, "127.0.0.2": 3}
    os.kill(workers(server)[0], signal.SIGKILL)
    wait_for(lambda: server.output.count("serves, as process") == 3)
    wait_for(lambda: exchange_or_nothing(server.port()) == b"x")


def exchange_or_nothing(port):
    try:
        return exchange(port, [b"x"])
    except OSError:
        return b""


def test_the_rate_of_a_source_holds_over_all_workers(launch):
    server = launch("--workers", "2", "--udp-rate", "20")
    began = time.monotonic()
    with Flows(server.port(), 64) as flows:
        flows.send(2)
        wait_for(lambda: (flows.take(), len(flows.got) >= 20)[1])
        assert unanswered(flows.sockets[0], 0.3) or flows.take() is None
        flows.take()
        assert 20 <= len(flows.got) <= 20 + 20 * (time.monotonic() - began)


def test_the_statistics_are_one_sum_and_a_line_each_on_demand(launch):
    server = launch("--workers", "2", "--stats-interval", "0.2")
    with Flows(server.port(), 32) as flows:
        flows.send(4)
        wait_for(flows.all_came)
    with talks(server.port(), [*workers(server).values()], 1):
        wait_for(lambda: re.search(r"stats connections=[1-9].* workers=2 skew=", server.output))
        os.kill(server.pid, signal.SIGUSR2)
        wait_for(lambda: "all 2 workers since the start:" in server.output)
    parts = [re.search(rf"worker {number} since the start: .* datagrams=(\d+)", server.output) for number in (0, 1)]
    total = re.search(r"all 2 workers since the start: .* datagrams=(\d+) .* skew=([\d.]+)", server.output)
    assert sum(int(part[1]) for part in parts) == int(total[1]) == 128
    assert 1 <= float(total[2]) <= 2
    # What a worker did is not forgotten when it is gone.
    os.kill(workers(server)[0], signal.SIGKILL)
    wait_for(lambda: server.output.count("serves, as process") == 3)
    os.kill(server.pid, signal.SIGUSR2)
    wait_for(lambda: server.output.count("all 2 workers since the start:") == 2)
    assert re.findall(r"all 2 workers since the start: .* datagrams=(\d+)", server.output)[-1] == "128"


def test_faults_on_purpose_are_in_the_list_of_workers(launch):
    server = launch("--workers", "2", "--fault", "udp:duplicate=100%,seed=1")
    with Flows(server.port(), 32) as flows:
        flows.send(1)
        wait_for(flows.all_came)
    os.kill(server.pid, signal.SIGUSR2)
    wait_for(lambda: "all 2 workers since the start:" in server.output)
    parts = re.findall(r"worker \d since the start: .* faults=(?:duplicate:(\d+)|none)", server.output)
    assert len(parts) == 2
    assert sum(int(part or 0) for part in parts) == 32
    assert re.search(r"all 2 workers since the start: .* faults=duplicate:32 skew=", server.output)


def test_workers_are_pinned(launch):
    allowed = sorted(os.sched_getaffinity(0))
    server = launch("--workers", "2", "--worker-cpus", f"{allowed[-1]},{allowed[0]}")
    assert {number: os.sched_getaffinity(pid) for number, pid in workers(server).items()} == {
        0: {allowed[-1]}, 1: {allowed[0]},
    }  # fmt: skip
    assert os.sched_getaffinity(server.pid) == set(allowed), "the parent runs where it may"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2 if hasattr(os, "sched_getaffinity") else True, reason="one CPU")
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_steered_to_the_worker_of_the_senders_cpu(launch, kind):
    """Over loopback a packet comes up on the CPU that it was sent on."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    server = launch("--workers", "2", "--worker-cpus", ",".join(map(str, reversed(cpus))), "--steer", "cpu")
    for number, cpu in enumerate(reversed(cpus)):
        code = (
            "import os, socket, sys\n"
            f"os.sched_setaffinity(0, [{cpu}])\n"
            f"for _ in range(128):\n"
            f"    sock = socket.socket(socket.AF_INET, socket.SOCK_{'STREAM' if kind == 'tcp' else 'DGRAM'})\n"
            f"    sock.connect(('127.0.0.1', {server.port()}))\n"
            f"    sock.send(b'x'); sock.settimeout(20); assert sock.recv(9) == b'x'; sock.close()\n"
        )
        subprocess.run([sys.executable, "-S", "-c", code], check=True, timeout=110)
        os.kill(server.pid, signal.SIGUSR2)
        wait_for(lambda times=number + 1: server.output.count("all 2 workers since the start:") == times)
        name = "connections" if kind == "tcp" else "datagrams"
        counts = re.findall(rf"worker \d since the start: .*? {name}=(\d+)", server.output)[-2:]
        expected = [128, 0] if number == 0 else [128, 128]
        assert list(map(int, counts)) == expected


def test_a_daemon_of_workers(tmp_path):
    done = run([*ServerProcess.TWISTD, "echobench", "--port", "0", "--workers", "2"], tmp_path)
    assert done.returncode == 0, done.stdout
    pid = int((tmp_path / "twistd.pid").read_text())
    log = tmp_path / "twistd.log"
    try:
        wait_for(lambda: "echobench ready" in log.read_text())
        port = int(re.search(r"ready port=(\d+)", log.read_text())[1])
        assert exchange(port, [b"daemon"]) == b"daemon"
        os.kill(pid, signal.SIGUSR1)  # a new log file: the parent's, who alone has one
        wait_for((tmp_path / "twistd.log.1").exists)
        os.kill(pid, signal.SIGUSR2)
        wait_for(lambda: "all 2 workers since the start" in log.read_text())
        found = children(pid)
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not (tmp_path / "twistd.pid").exists())
    wait_for(lambda: not any(map(alive, found)))

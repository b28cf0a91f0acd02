"""Real servers under test: started, known by their echo, measured, and ended with all that they started."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rigs.helpers import LIMIT, needs_linux, wait_for
from rigs.small_servers import command
from rigs.survivors import Mark
from rigs.truth import TCP, UDP
from rigs.undisturbed import repeated, unless_disturbed

from echobench.bench.compare.analysis.comparison import Subject
from echobench.bench.compare.meters import proctree
from echobench.bench.compare.server.lifecycle import KEEPER, Server, SubjectError
from echobench.bench.compare.server.ready import is_free
from echobench.bench.compare.server.subject import ideal

pytestmark = needs_linux


@pytest.fixture
def mark(monkeypatch):
    """A mark that everything carries that a test starts; nothing of it may be left."""
    made = Mark()
    name, _, value = made.value.partition("=")
    monkeypatch.setenv(name, value)
    yield made
    assert made.gone() == []


def a_server(how, proto="tcp", **options):
    return Server(Subject(name="x", command=command(how)), proto, **{"start_timeout": 20.0, "grace": 10.0, **options})


PROBE = 25  # bytes that are asked of a server to see whether it echoes


@pytest.mark.parametrize(("proto", "there"), [("tcp", functools.partial(TCP, size=PROBE)), ("udp", UDP)])
def test_a_name_stands_for_the_address_that_answers(monkeypatch, proto, there):
    """For all that follows, so that checks and load ask the same server."""
    with there() as other, there(host="127.0.0.2") as right:
        found = [(socket.AF_INET, 0, 0, "", (host, right.port)) for host in ("127.0.0.3", "127.0.0.2")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        with Server(Subject(name="x", address=f"name:{right.port}"), proto) as server:
            assert (server.host, server.port) == ("127.0.0.2", right.port)
        assert other.seen == 0


@pytest.mark.parametrize("version", [4, 6])
def test_only_one_version_of_ip(version):
    with TCP(size=PROBE) as there:
        subject = Subject(name="x", address=f"127.0.0.1:{there.port}")
        server = Server(subject, "tcp", family=version, start_timeout=20.0 if version == 4 else 0.2)
        if version == 4:
            with server:
                assert server.host == "127.0.0.1"
            return
        with pytest.raises(SubjectError, match=r"did not echo over TCP on 127\.0\.0\.1 port"), server:
            pass


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_a_good_server(mark, proto):
    cpus = sorted(os.sched_getaffinity(0))[:1]
    with a_server("udp" if proto == "udp" else "good", proto, cpus=cpus) as server:
        assert server.gone() is None
        assert not is_free("127.0.0.1", server.port, proto)
        pids = proctree.descendants(server.keeper)
        assert [os.sched_getaffinity(pid) for pid in pids] == [set(cpus)]
        assert os.getsid(pids[0]) == os.getpgid(pids[0]) == pids[0]
        assert mark.alive()
    assert server.troubles == []
    assert mark.alive() == []


@pytest.mark.slow
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_of_several_workers_all_are_waited_for(mark, monkeypatch, tmp_path, proto):
    """One is a second late. The first has echoed long before."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif \"echobench worker 1'\" in ' '.join(sys.orig_argv):\n    time.sleep(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Server(ideal(2), proto, start_timeout=LIMIT, grace=10.0) as server:
        said = "".join(server.output())
        assert all(f"worker {number} serves" in said for number in (0, 1)), said


@pytest.mark.parametrize(
    ("how", "patience", "sentence", "last"),
    [
        ("exits", 20.0, "it ended with status 3 before it answered", "the licence has expired"),
        ("mute", 0.6, "it did not echo over TCP on 127.0.0.1 port", None),
        ("udp", 0.6, "it did not echo over TCP on 127.0.0.1 port", None),
        ("wrong", 20.0, "it does not echo: 25 bytes were sent, and 25 other bytes came back", None),
    ],
)
def test_servers_that_are_none(mark, how, patience, sentence, last):
    server = a_server(how, start_timeout=patience)
    with pytest.raises(SubjectError) as caught, server:
        pass
    assert str(caught.value).startswith(sentence)
    assert last is None or caught.value.output[-1] == last
    assert mark.alive() == []


@pytest.mark.parametrize(("number", "kept"), [(2, 3), (9, 10), (10, 11), (10_000, 11)])
def test_a_panic_says_first_what_was_wrong(mark, number, kept):
    with pytest.raises(SubjectError) as caught, a_server(f"panics {number}"):
        pass
    output = caught.value.output
    assert (output[0], output[-1], len(output)) == ("panic: index out of range", f"goroutine {number - 1}", kept)
    assert ("..." in output) == (number > 9)


def test_a_command_that_does_not_start(mark):
    with pytest.raises(SubjectError, match="could not be started"):
        Server(Subject(name="x", command="/no/such/thing {port}"), "tcp").__enter__()


def test_one_that_ignores_sigterm(mark):
    with a_server("stubborn", grace=0.5) as server:
        pass
    assert server.troubles == ["it did not end within 0.5 s of SIGTERM, and was killed"]


def test_one_that_goes_into_the_background(mark):
    """Its first process is gone, it has a session of its own, and still it is found, measured and ended."""
    with a_server("daemon") as server:
        wait_for(lambda: server.gone() is None and server.forked)  # who forked may take a while to end
        wait_for(lambda: len(proctree.descendants(server.keeper)) == 1)
    assert server.troubles == ["its first process ended, and others went on: it went into the background"]
    assert mark.alive() == []


def test_one_that_leaves_a_child(mark):
    with a_server("litter", grace=1.0) as server:
        wait_for(lambda: len(proctree.descendants(server.keeper)) == 2)
    assert server.troubles == ["it left 1 processes running, which were killed"]


def test_a_port_that_is_held(mark):
    with a_server("good") as server:
        twin = socket.socket()
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(proctree.descendants(server.keeper)[0], signal.SIGKILL)
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                twin.bind(("127.0.0.1", server.port))
                break
            except OSError:
                assert time.monotonic() < deadline
        twin.listen()
        wait_for(server.gone)
        assert server.gone() == "it was ended by signal 9"
    twin.close()
    assert server.troubles == [f"port {server.port} is still in use after its end"]


@pytest.mark.parametrize("how", ["good", "stubborn", "daemon", "litter"])
def test_nothing_is_left_of_a_block_that_fails(mark, how):
    with pytest.raises(KeyboardInterrupt), a_server(how):
        raise KeyboardInterrupt
    assert mark.alive() == [], "an interrupt does not wait for the grace"


@pytest.mark.slow
def test_nothing_is_left_when_we_are_killed():
    """By SIGKILL, which nobody can handle: the keeper sees its input end."""
    mark = Mark()
    script = "import sys, time; from test_subject_servers import a_server\n"
    script += "with a_server('litter', grace=0.5): print('up', flush=True); time.sleep(100)"
    environment = {**mark.environment, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"up\n"
        assert len(mark.alive()) == 4  # the command, the keeper, the server, its child
        process.kill()
    assert mark.gone() == []


def test_nothing_is_left_when_the_keeper_is_killed(mark):
    with a_server("good") as server:
        os.kill(server.keeper, signal.SIGKILL)
    assert mark.gone() == []


@pytest.mark.slow
@repeated
def test_processor_time_of_the_whole_tree(mark):
    """Of processes and threads, to a few milliseconds."""
    burn = "import os, sys, threading, time\n"
    burn += "def burn():\n    end = time.thread_time() + 0.3\n    while time.thread_time() < end: pass\n"
    burn += "pid = os.fork()\nt = threading.Thread(target=burn); t.start(); t.join()\n"
    burn += "sys.stdin.read()\npid and os.wait()"
    with subprocess.Popen(["sh", "-c", "read line; exec \"$0\" -S -c \"$1\"", sys.executable, burn],
                          stdin=subprocess.PIPE) as process:  # fmt: skip
        before = proctree.take(os.getpid(), ())
        process.stdin.write(b"go\n")
        process.stdin.flush()
        wait_for(lambda: proctree.used(before, proctree.take(os.getpid(), ())).cpu >= 0.6)
        used = proctree.used(before, proctree.take(os.getpid(), ()))
        process.communicate(timeout=LIMIT)
    assert used.cpu >= 0.6
    assert used.peak > 1 << 20
    assert used.window > 0.3
    with unless_disturbed():
        assert used.cpu < 0.85


def test_others_on_the_servers_cpus():
    cpu = min(os.sched_getaffinity(0))
    neighbour = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"],
                                 preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))  # fmt: skip
    try:
        nobody = subprocess.Popen(["sleep", "100"])
        before, burnt = proctree.take(nobody.pid, (cpu,)), proctree.cpu_time(os.getpid())
        wait_for(lambda: proctree.cpu_time(os.getpid()) - burnt > 0.35)
        used = proctree.used(before, proctree.take(nobody.pid, (cpu,)))
    finally:
        for each in (neighbour, nobody):
            each.kill()
            each.wait()
    assert used.cpu == 0
    assert used.others > 0.3


def test_the_keeper_needs_only_the_standard_library():
    done = subprocess.run([sys.executable, "-I", "-S", str(KEEPER)], stdin=subprocess.DEVNULL, timeout=LIMIT)
    assert done.returncode == 0

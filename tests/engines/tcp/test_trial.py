"""Finding out whether io_uring works: forbidden, too old, out of order, or a Python that cannot ask."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import sys

import pytest
from rigs.helpers import ServerProcess, exchange, needs_linux
from rigs.rings import kernel_objects, needs_completion, needs_ring
from rigs.seccomp import refusing
from twisted.logger import capturedLogs

from echobench.engines import STREAM, EngineError, Setting, choose
from echobench.engines.tcp import ring_trial as trial
from echobench.engines.tcp.completion import ENGINE as COMPLETION
from echobench.engines.tcp.ring_trial import try_ring
from echobench.kernel import calls
from echobench.kernel import ring as k

NO_MEMORY = "io_uring gets no memory for its rings: RLIMIT_MEMLOCK ('ulimit -l'), or a memory limit, is too low"
OUT_OF_ORDER = "an echo through io_uring did not come back as it should"


@pytest.fixture(autouse=True)
def tried_anew():
    """The verdict is kept for the life of a process; here each test has its own."""
    trial._verdict.cache_clear()
    before = kernel_objects()
    yield
    assert kernel_objects() == before, "the trial leaves nothing"
    trial._verdict.cache_clear()


def refused_with(error):
    """A filter that has io_uring's calls fail, as containers do; to run in a child."""
    return refusing(["io_uring_setup", "io_uring_enter", "io_uring_register"], errno.errorcode[error])


FORBIDDEN = [
    (errno.EPERM, "io_uring is forbidden here (EPERM), as containers do with seccomp"),
    (errno.ENOSYS, "this kernel has no io_uring, or a seccomp filter hides it (ENOSYS)"),
]


def choices(output):
    return [line for line in output.splitlines() if "engine for streams" in line]


def fails(tmp_path, **how):
    """Start a program that is to fail; what it said last, and that it said it well."""
    server = ServerProcess(("--interface", "127.0.0.1", "--engine", "completion"), cwd=tmp_path, **how)
    try:
        assert server.wait() == 1
        assert "Traceback" not in server.output
        return server.lines[-1].split("] ")[-1]  # after what the log puts before each line
    finally:
        server.kill()


@needs_ring
@pytest.mark.parametrize(("error", "sentence"), FORBIDDEN)
def test_where_it_is_forbidden_auto_serves_by_readiness_and_says_why(launch, error, sentence):
    server = launch("--interface", "127.0.0.1", before=refused_with(error))
    assert exchange(server.port(), [b"in a container"]) == b"in a container"
    (line,) = choices(server.output)
    assert line.endswith(f"engine for streams: readiness (completion is not available: {sentence})")
    assert "Traceback" not in server.output


@needs_ring
@pytest.mark.parametrize(("error", "sentence"), FORBIDDEN)
def test_where_it_is_forbidden_it_cannot_be_had_by_name(tmp_path, error, sentence):
    last = fails(tmp_path, before=refused_with(error))
    assert last == f"echobench: engine completion is not available: {sentence}"


@needs_linux
@pytest.mark.parametrize("module", ["ctypes", "mmap"])
def test_a_python_without_a_module(launch, tmp_path, module):
    code = f"import sys; sys.modules[{module!r}] = None; from twisted.scripts.twistd import run; run()"
    command = [sys.executable, "-c", code, "-n", "--pidfile=", "echobench", "--port", "0", "--interface", "127.0.0.1"]
    server = launch(command=command)
    assert exchange(server.port(), [b"all the same"]) == b"all the same"
    (line,) = choices(server.output)
    assert "engine for streams: readiness (completion is not available: " in line
    assert module in line
    last = fails(tmp_path, command=[*command, "--engine", "completion"])
    assert last.startswith("echobench: engine completion is not available: ")
    assert module in last


def refuse(monkeypatch, error):
    def system_call(name):
        def fail(*arguments):
            ctypes.set_errno(error)
            return -1

        return fail if name == "io_uring_setup" else calls.system_call(name)

    monkeypatch.setattr(k, "system_call", system_call)


@needs_linux
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errno.EINVAL, "this kernel's io_uring is too old: Linux 6.17 is needed"),
        (errno.ENOSYS, FORBIDDEN[1][1]),
        (errno.ENOMEM, NO_MEMORY),
    ],
)
def test_what_the_kernel_says_becomes_a_sentence(monkeypatch, error, sentence):
    refuse(monkeypatch, error)
    assert try_ring() == sentence


@needs_linux
@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("2", "io_uring is disabled by sysctl (kernel.io_uring_disabled=2)"),
        ("1", "io_uring is disabled by sysctl (kernel.io_uring_disabled=1)"),
        ("0", FORBIDDEN[0][1]),
        (None, FORBIDDEN[0][1]),
    ],
)
def test_a_refusal_is_told_from_a_sysctl(monkeypatch, setting, sentence):
    def read(path):
        assert path == "/proc/sys/kernel/io_uring_disabled"
        if setting is None:  # before Linux 6.6
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return io.StringIO(f"{setting}\n")

    refuse(monkeypatch, errno.EPERM)
    monkeypatch.setattr(trial, "open", read, raising=False)
    assert try_ring() == sentence


@needs_ring
def test_the_trial_makes_what_the_engine_will_make(monkeypatch):
    """Small rings would prove nothing where memory for them is limited."""
    made = []

    class Noted(k.Ring):
        def __init__(self, *sizes):
            made.append(sizes)
            super().__init__(*sizes)

    monkeypatch.setattr(k, "Ring", Noted)
    assert try_ring() is None
    tried, made[:] = made[:], []
    for ring in trial.make_rings(trial.Sizes())[:2]:
        ring.close()
    assert tried == made


@needs_ring
def test_memory_that_is_given_back_late_is_waited_for(monkeypatch):
    refused = [errno.ENOMEM, errno.ENOMEM]

    class Late(k.Ring):
        def __init__(self, *sizes):
            if refused:
                raise OSError(refused.pop(), "Cannot allocate memory")
            super().__init__(*sizes)

    monkeypatch.setattr(k, "Ring", Late)
    for ring in trial.make_rings(trial.Sizes())[:2]:
        ring.close()
    assert refused == []


@needs_linux
def test_the_choice_with_a_refusal(monkeypatch):
    from twisted.internet import reactor

    refuse(monkeypatch, errno.EINVAL)
    with capturedLogs() as logs:
        assert choose(STREAM, "auto", Setting(reactor)).name == "readiness"
    assert len(logs) == 1
    with pytest.raises(EngineError, match="engine completion is not available: this kernel's io_uring is too old"):
        choose(STREAM, "completion", Setting(reactor))


@needs_linux
def test_it_is_tried_once(monkeypatch):
    from twisted.internet import reactor

    refuse(monkeypatch, errno.EINVAL)
    verdict = try_ring()
    monkeypatch.undo()
    assert COMPLETION.unavailable(reactor) == verdict


@needs_completion
def test_where_it_works():
    from twisted.internet import reactor

    assert try_ring() is None
    assert COMPLETION.unavailable(reactor) is None
    assert choose(STREAM, "auto", Setting(reactor)).name == "completion"


class NoLimit(k.Ring):
    """As before Linux 6.17: a receive with a limit makes no sense to it."""

    def push(self, opcode, fd, user_data, **rest):
        super().push(250 if rest.get("optlen") else opcode, fd, user_data, **rest)


class OtherLayout(k.Ring):
    """Its completions are not where they are looked for."""

    def _map(self, params):
        super()._map(params)
        self.who, self.kind = self.kind, self.who


class Silent(k.Ring):
    """What it is asked to send never leaves."""

    def push(self, opcode, fd, user_data, **rest):
        super().push(0 if opcode == k.OP_SEND else opcode, fd, user_data, **rest)


class OneShot(k.Ring):
    """It receives once."""

    def push(self, opcode, fd, user_data, *, ioprio=0, **rest):
        super().push(opcode, fd, user_data, **rest)


@needs_ring
def test_without_a_limit_for_a_receive_it_is_not_used(monkeypatch, any_request):
    monkeypatch.setattr(k, "Ring", NoLimit)
    assert try_ring() == "this kernel's io_uring cannot bound what one peer may send: Linux 6.17 is needed"


@needs_ring
@pytest.mark.parametrize("ring", [OtherLayout, Silent, OneShot])
def test_a_ring_that_is_not_what_it_should_be_is_not_used(monkeypatch, any_request, ring):
    monkeypatch.setattr(k, "Ring", ring)
    assert try_ring() == OUT_OF_ORDER


@needs_ring
def test_bytes_that_come_in_wrong(monkeypatch):
    class Elsewhere(trial.LentBuffers):
        def view(self, number):
            return memoryview(bytes(self.size))

    monkeypatch.setattr(trial, "LentBuffers", Elsewhere)
    assert try_ring() == OUT_OF_ORDER


@needs_ring
def test_bytes_that_go_out_wrong(monkeypatch):
    class Elsewhere(trial.LentBuffers):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.base += 64  # still ours, but not what was received

    monkeypatch.setattr(trial, "LentBuffers", Elsewhere)
    assert try_ring() == OUT_OF_ORDER


@needs_ring
def test_a_system_without_such_buffers(monkeypatch):
    def register(self, *arguments):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(k.Ring, "register", register)
    assert try_ring() == "this kernel's io_uring is too old: Linux 6.17 is needed"


@needs_ring
def test_the_second_ring_refused_leaves_no_first_one(monkeypatch):
    made = []

    class Only(k.Ring):
        def __init__(self, *sizes):
            if made:
                raise OSError(errno.EMFILE, "Too many open files")
            made.append(self)
            super().__init__(*sizes)

    monkeypatch.setattr(k, "Ring", Only)
    assert try_ring() == "io_uring does not work here: Too many open files"
    assert made[0].fd == -1

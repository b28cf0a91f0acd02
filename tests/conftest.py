"""What every test runs under: nothing may leak, and no error may be logged unseen."""

from __future__ import annotations

import functools
import gc
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import greenlet
import pytest
import pytest_twisted
from hypothesis import HealthCheck, settings
from rigs.helpers import ServerProcess, settle
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from echobench import EchoService, clocks
from echobench.engines import DATAGRAM, STREAM, EngineError, Setting, choose
from echobench.engines.tcp import pipes

pytest_plugins = [
    "rigs.blasting", "rigs.own_protocols", "rigs.peers", "rigs.rings", "rigs.tcp_rig", "rigs.passing_rig",
    "rigs.tls_rig", "rigs.udp_rig",
]  # fmt: skip

# Real sockets take as long as they take, and each example cleans up after itself.
settings.register_profile(
    "echobench",
    deadline=None,
    max_examples=int(os.environ.get("ECHOBENCH_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("echobench")


# Under nohup(1), or in the background of a script (POSIX, Shell Command Language, 2.11), these are ignored, and what is
# started here would inherit that.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say what ``-n auto`` is: tests wait more than they compute."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="module", autouse=True)
def _old_objects_are_left_alone() -> None:
    """Make the collections below cheap: what was there before need not be looked at after each test."""
    gc.collect()
    gc.freeze()


def _in_own_greenlet(function: Callable[..., Any]) -> Callable[..., Deferred[Any]]:
    """Let a plain test function wait for Deferreds (``blocking``, ``until``) while the reactor runs.

    pytest-twisted calls test functions in the reactor's own greenlet, in which nothing can wait.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Deferred[Any]:
        from twisted.internet import reactor

        done: Deferred[Any] = Deferred()

        def body() -> None:
            try:
                result = function(*args, **kwargs)
            except BaseException:
                reactor.callLater(0, done.errback, Failure())
            else:
                reactor.callLater(0, done.callback, result)

        greenlet.greenlet(body).switch()
        return done

    return wrapper


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Run every test that is no coroutine in a greenlet of its own; pytest-twisted does the rest."""
    hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    if hypothesis is not None:
        # One function serves all parameters of a fixture, and pytest-twisted ties it to the first that it meets.
        original = vars(pyfuncitem.obj).setdefault("original_inner_test", hypothesis.inner_test)
        hypothesis.inner_test = _in_own_greenlet(original)
    elif not inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = _in_own_greenlet(pyfuncitem.obj)


def _descriptors() -> set[tuple[str, str]]:
    """Open descriptors with what they lead to; the event loop's own stay the same and cancel out."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
        except OSError:  # the listing's own
            continue
    return found


def _busy(reactor: Any) -> list[str]:
    readers = [r for r in reactor.getReaders() if r not in reactor._internalReaders]
    return [*map(repr, readers), *map(repr, reactor.getWriters()), *map(str, reactor.getDelayedCalls())]


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[list[Any]]:
    """Collect errors that are logged; one that the test does not take out fails it."""
    errors: list[Any] = []

    def observe(event: Any) -> None:
        if "log_failure" in event or event.get("isError"):
            errors.append(event)

    globalLogPublisher.addObserver(observe)
    yield errors
    gc.collect()  # a Deferred that failed unheard says so when it is collected
    globalLogPublisher.removeObserver(observe)
    assert not errors, [event.get("log_failure", event) for event in errors]


@pytest.fixture(autouse=True)
def no_thread_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the threads that wake the reactor end at once, or each test would have to wait for it."""
    monkeypatch.setattr(clocks, "LINGER", 0.01)


@pytest.fixture(autouse=True)
def nothing_leaks(logged_errors: list[Any], no_thread_stays: None) -> Iterator[None]:
    """Fail a test that leaves a port, a connection, a delayed call or a descriptor behind."""
    from twisted.internet import reactor

    gc.collect()
    before = _descriptors() if sys.platform == "linux" else set()
    yield
    left: list[str] = []
    for _ in range(100):
        settle(0.01)
        gc.collect()
        after = _descriptors() if sys.platform == "linux" else set()
        left = _busy(reactor) + [f"descriptor {fd}: {target}" for fd, target in sorted(after - before)]
        # The reactor's threads and Hypothesis' database may open files of their own; they are not sockets.
        left = [each for each in left if "socket:" in each or not each.startswith("descriptor")]
        if not left:
            return
    pytest.fail(f"left behind: {left}")


@pytest.fixture(params=list(STREAM))
def engine(request: pytest.FixtureRequest) -> str:
    """Name each engine for streams in turn, if it can be had here."""
    return _available(STREAM, str(request.param))


@pytest.fixture(params=[*STREAM, "spliced"])
def engine_or_spliced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name each engine, and one of them again that passes everything through a pipe, as large messages go."""
    if request.param != "spliced":
        return _available(STREAM, str(request.param))
    name = _available(STREAM, "readiness")
    if pipes.splice is None:
        pytest.skip("this system has no splice(2)")
    monkeypatch.setattr("echobench.engines.tcp.polled.SPLICED", 0)
    return name


@pytest.fixture(params=list(DATAGRAM))
def udp_engine(request: pytest.FixtureRequest) -> str:
    """Name each engine for datagrams in turn, if it can be had here."""
    return _available(DATAGRAM, str(request.param))


def _available(kind: Mapping[str, str], name: str) -> str:
    from twisted.internet import reactor

    try:
        choose(kind, name, Setting(reactor))
    except EngineError as error:
        pytest.skip(str(error))
    return name


@pytest.fixture
def serve() -> Iterator[Callable[..., EchoService]]:
    """Start services in this process, on free ports unless told otherwise, and stop them after the test."""
    started: list[EchoService] = []

    def start(port: int | None = 0, *args: Any, **options: Any) -> EchoService:
        options.setdefault("close_timeout", 0.5)
        service = EchoService(port, *args, **options)
        service.startService()
        started.append(service)
        return service

    yield start
    for service in started:
        if service.running:
            pytest_twisted.blockon(service.stopService())


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start ``twistd -n echobench`` in processes of their own, and end them after the test."""
    started: list[ServerProcess] = []

    def start(*options: str, **how: Any) -> ServerProcess:
        process = ServerProcess(options, cwd=tmp_path, **how)
        started.append(process)
        process.wait_ready()
        return process

    yield start
    for process in started:
        process.kill()

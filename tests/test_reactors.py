"""Which reactor: every platform by injection, and the real order of things in processes of their own."""

from __future__ import annotations

import sys

import pytest
from rigs.helpers import needs_linux, run
from twisted.logger import capturedLogs

from echobench import reactors
from echobench.reactors import install_best_reactor, installed, preferred


@pytest.mark.parametrize(
    ("platform", "names"),
    [
        ("linux", ("epoll", "poll", "select")),
        ("darwin", ("kqueue", "poll", "select")),
        ("freebsd14", ("kqueue", "poll", "select")),
        ("openbsd7", ("kqueue", "poll", "select")),
        ("netbsd10", ("kqueue", "poll", "select")),
        ("dragonfly6", ("kqueue", "poll", "select")),
        ("win32", ("iocp", "select")),
        ("cygwin", ("iocp", "select")),
        ("sunos5", ("poll", "select")),
    ],
)
def test_each_platform_gets_its_best(platform, names):
    assert preferred(platform) == names


class Importer:
    """Hands out modules that note that they were installed, or fails."""

    def __init__(self, **failures):
        self.failures, self.installed = failures, []

    def __call__(self, name):
        short = next(key for key, module in reactors._MODULES.items() if module == name)
        failure = self.failures.get(short)
        if isinstance(failure, ImportError):
            raise failure
        outer = self

        class Module:
            @staticmethod
            def install():
                if failure is not None:
                    raise failure
                outer.installed.append(short)

        return Module


@pytest.fixture
def no_reactor(monkeypatch):
    monkeypatch.setattr(reactors, "installed", lambda: None)


@pytest.mark.parametrize("platform", ["linux", "darwin", "freebsd14", "win32", "sunos5"])
def test_the_best_is_installed_and_logged(no_reactor, platform):
    importer = Importer()
    with capturedLogs() as logs:
        choice = install_best_reactor(platform, importer)
    assert importer.installed == [preferred(platform)[0]]
    assert choice == reactors.Choice(preferred(platform)[0], f"the best for {platform}")
    assert logs[0]["choice"] is choice


@pytest.mark.parametrize(
    ("platform", "failures", "expected"),
    [
        ("win32", {"iocp": ImportError("No module named 'twisted_iocpsupport'")}, "select"),
        ("linux", {"epoll": ImportError("cannot import name 'epoll' from 'select'")}, "poll"),
        ("linux", {"epoll": OSError(38, "Function not implemented"), "poll": AttributeError("poll")}, "select"),
        ("darwin", {"kqueue": ImportError("cannot import name 'kqueue'")}, "poll"),
    ],
)
def test_the_next_best_with_the_reason(no_reactor, platform, failures, expected):
    importer = Importer(**failures)
    choice = install_best_reactor(platform, importer)
    assert importer.installed == [choice.name] == [expected]
    for name, failure in failures.items():
        assert f"{name} is not available here: {failure}" in choice.why


def test_none_at_all(no_reactor):
    importer = Importer(iocp=ImportError("no iocp"), select=ImportError("no select"))
    with pytest.raises(ImportError, match=r"no reactor for win32: iocp .*no iocp; select .*no select"):
        install_best_reactor("win32", importer)


def test_one_that_is_there_is_respected():
    importer = Importer()
    choice = install_best_reactor("darwin", importer)
    assert importer.installed == []
    assert choice == installed()
    assert choice.name == "EPollReactor" or sys.platform != "linux"


REPORT = "import sys; print(type(sys.modules['twisted.internet.reactor']).__name__)"


def test_importing_the_package_brings_no_reactor_and_no_twisted(tmp_path):
    code = "import sys, echobench; assert 'twisted' not in sys.modules; echobench.EchoService, echobench.Echo, " \
        "echobench.Guard; assert 'twisted.internet.reactor' not in sys.modules; print('clean')"  # fmt: skip
    assert run([sys.executable, "-c", code], tmp_path).stdout == "clean\n"


def test_nothing_that_the_plugin_imports_brings_a_reactor(tmp_path):
    code = (
        "import sys, echobench.server.plugin.tap, echobench.server.certificate, echobench.engines.portable, "
        "echobench.engines.portable.engine; "
        "print('twisted.internet.reactor' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], tmp_path).stdout == "False\n"


@pytest.mark.parametrize("before", ["", "from twisted.internet import selectreactor; selectreactor.install(); "])
def test_the_plugins_reactor_is_monotonic(tmp_path, before):
    """Whoever installed it: the process is ours alone."""
    code = (
        f"import time; {before}from echobench.server.plugin.tap import Options; "
        "Options().parseOptions(['--port', '0']); "
        "from twisted.internet import reactor; print(abs(reactor.seconds() - time.monotonic()) < 60)"
    )
    assert run([sys.executable, "-c", code], tmp_path).stdout.endswith("True\n")


def test_an_embedding_programs_reactor_is_left_alone(tmp_path):
    code = (
        "import time, echobench; echobench.install_best_reactor(); from twisted.internet import reactor; "
        "service = echobench.EchoService(0, ('127.0.0.1',), idle_timeout=5); service.startService(); "
        "service.stopService(); print(abs(reactor.seconds() - time.time()) < 60)"
    )
    assert run([sys.executable, "-c", code], tmp_path).stdout.endswith("True\n")


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize(
    ("runner", "arguments", "reactor", "said"),
    [
        ("twistd", (), "EPollReactor", "epoll (the best for linux)"),
        ("twistd", ("--reactor", "poll"), "PollReactor", "PollReactor (it was installed before echobench was asked)"),
        ("twistd", ("--reactor", "select"), "SelectReactor", "SelectReactor (it was installed"),
        ("twistd", ("--reactor", "asyncio"), "AsyncioSelectorReactor", "AsyncioSelectorReactor (it was installed"),
        ("twist", (), "EPollReactor", "epoll (the best for linux)"),
        ("twist", ("--reactor", "poll"), "PollReactor", "PollReactor (it was installed"),
    ],
)
def test_the_runners_get_the_reactor_that_was_meant(launch, tmp_path, runner, arguments, reactor, said):
    """And it serves: the same echo on each of them."""
    from rigs.helpers import ServerProcess, blocking, exchange

    common = ["echobench", "--port", "0", "--interface", "127.0.0.1"]
    if runner == "twistd":
        command = [*ServerProcess.TWISTD, "-n", "--pidfile=", *arguments, *common]
    else:
        command = [*ServerProcess.TWIST, "--log-format", "text", *arguments, *common]
    server = launch(command=command)
    assert f"reactor: {said}" in server.output
    if runner == "twistd":
        assert f".{reactor}." in server.output
    assert blocking(exchange, server.port(), [b"any reactor"]) == b"any reactor"
    server.stop()
    assert "Traceback" not in server.output


@needs_linux
def test_from_a_tac(launch, tmp_path):
    from rigs.helpers import ServerProcess, blocking, exchange

    tac = tmp_path / "echo.tac"
    tac.write_text(
        "import echobench\n"
        "echobench.install_best_reactor('freebsd')  # kqueue is not here: poll is the next best\n"
        "from twisted.application.service import Application\n"
        "application = Application('echo')\n"
        "echobench.EchoService(0, ('127.0.0.1',)).setServiceParent(application)\n"
    )
    server = launch(command=[*ServerProcess.TWISTD, "-n", "--pidfile=", "-y", str(tac)])
    assert "PollReactor" in server.output
    assert "kqueue is not available here" in server.output
    assert blocking(exchange, server.port(), [b"tac"]) == b"tac"

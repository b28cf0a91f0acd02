"""The public API, pinned: names, how their classes are made, and which errors are one family."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import attrs
import pytest
from rigs.places import DOCS, ROOT

import echobench
from echobench import EchobenchError

CONSTRUCTORS = {
    "Caps": "total=None, per_source=None",
    "Counters": "connections=0, open_connections=0, reads=0, stream_bytes=0, datagrams=0, datagram_bytes=0, "
    "kernel_drops=0, drops=..., faults=...",
    "Echo": "",
    "EchoFactory": "*, protocol=..., caps=..., counters=..., idle_timeout=None, close_timeout=10.0, reactor=...",
    "EchoService": "port=7, interfaces=(), *, tcp=True, udp=True, tls_port=None, tls_options=None, inherited=(), "
    "inherited_tls=(), endpoints=(), max_connections=None, max_connections_per_source=None, idle_timeout=None, "
    "close_timeout=10.0, udp_rate=None, allow_low_source_ports=False, receive_buffer=None, backlog=4096, "
    "defer_accept=None, protocol=None, datagram_protocol=None, engine='auto', udp_engine='auto', spin='auto', "
    "faults=(), reactor=None",
    "EchoUDP": "*, guard=..., counters=...",
    "EchoWorkers": "number, port=7, interfaces=(), *, certificate=None, private_key=None, cpus=None, steer='hash', "
    "timeout=None, reactor=None, arguments",
    "Guard": "own_ports=(), *, allow_low_source_ports=False, rate=None",
    "RateLimit": "rate, burst, seconds",
    "Snapshot": "connections=0, open_connections=0, reads=0, stream_bytes=0, datagrams=0, datagram_bytes=0, "
    "kernel_drops=0, drops=..., faults=..., apart=...",
    "install_best_reactor": "platform='{platform}', importer=...",
}
OTHERS = {"BindError", "EchobenchError", "EngineError", "Reason", "__version__"}


def signature(function):
    """A signature without annotations; a default that is made anew, or is a function or class, is three dots."""
    found, starred = [], False
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not starred:
            starred = True
            found.append("*")
        plain = each.default is None or isinstance(each.default, (bool, int, float, str, tuple))
        default = "" if each.default is each.empty else f"={each.default!r}" if plain else "=..."
        found.append(each.name + default)
    return ", ".join(found)


def test_the_names():
    assert set(echobench.__all__) == {*CONSTRUCTORS, *OTHERS}
    assert echobench.__all__ == sorted(echobench.__all__, key=lambda name: (name.lower() == name, name))
    for name in echobench.__all__:
        assert getattr(echobench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        importlib.import_module("echobench").nonsense  # noqa: B018


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_how_it_is_made(name):
    expected = CONSTRUCTORS[name].replace("{platform}", sys.platform)
    assert signature(getattr(echobench, name)) == expected


def test_the_defaults_are_one():
    from echobench import EchoFactory, EchoService
    from echobench.engines import Setting
    from echobench.server.plugin.tap import Options

    options = Options()
    of = {kind: {field.name: field.default for field in attrs.fields(kind)} for kind in (EchoService, Setting)}
    assert of[EchoService]["close_timeout"] == of[Setting]["close_timeout"] == options["close-timeout"]
    assert attrs.fields(EchoFactory).close_timeout.default == options["close-timeout"]
    assert of[EchoService]["backlog"] == of[Setting]["backlog"] == options["backlog"]


def test_the_names_are_imported_when_they_are_asked_for(tmp_path):
    code = "import sys, echobench; echobench.EchobenchError; print('twisted' in sys.modules, 'attrs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_the_docs_import_only_public_names():
    for path in [*DOCS.rglob("*.md"), *DOCS.glob("examples/**/*.py"), *DOCS.rglob("*.tac"), ROOT / "README.md"]:
        for line in re.findall(r"^\s*from echobench import (.+)$", path.read_text(), re.MULTILINE):
            for name in re.findall(r"\w+", line):
                assert name in echobench.__all__, f"{path.name} imports {name}"


def errors():
    for found in pkgutil.walk_packages(echobench.__path__, "echobench."):
        if found.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(found.name)
        except ImportError:  # another platform's
            continue
        for name, value in vars(module).items():
            own = isinstance(value, type) and issubclass(value, Exception) and value.__module__ == found.name
            if own and name.endswith("Error") and not name.startswith("_"):
                yield value


def test_every_error_with_a_sentence_for_the_user_is_one_of_ours():
    found = set(errors())
    assert {each.__name__ for each in found} >= {
        "BindError", "EngineError", "CertificateError", "LoadError", "PlanError", "ResultError", "LimitError",
        "SubjectError", "VerifyError", "InheritedError", "OptionError", "FaultError",
    }  # fmt: skip
    for each in found:
        assert issubclass(each, EchobenchError), each


def test_what_callers_relied_on_holds():
    from echobench.bench.sweep.limits import LimitError
    from echobench.server.plugin.systemd import InheritedError

    assert issubclass(LimitError, ValueError)
    assert issubclass(InheritedError, ValueError)

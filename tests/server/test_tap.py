"""Options: what they mean, and one sentence for each that makes no sense."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import certificates

from echobench import EchobenchError
from echobench.engines import STREAM
from echobench.server.plugin.failure import StartupFailure
from echobench.server.plugin.parsing import size
from echobench.server.plugin.program import Program
from echobench.server.plugin.tap import Options, makeService
from echobench.server.service import EchoService


def parse(*arguments):
    options = Options()
    options.parseOptions(arguments)
    return options


def service(*arguments):
    made = makeService(parse(*arguments))
    assert isinstance(made, Program)
    return made.echo


def test_defaults():
    echo = service()
    assert (echo.port, tuple(echo.interfaces), echo.tcp, echo.udp, echo.tls_port) == (7, (), True, True, None)
    assert (echo.idle_timeout, echo.close_timeout, echo.udp_rate, echo.backlog) == (None, 10.0, None, 4096)
    assert (echo.engine, echo.udp_engine, echo.allow_low_source_ports) == ("auto", "auto", False)
    assert echo.spin == "auto"


def test_every_option_arrives():
    echo = service(
        "--port", "7007", "--interface", "127.0.0.1", "--interface", "[::1]", "--no-udp", "--max-connections", "10",
        "--max-connections-per-source", "2", "--idle-timeout", "60", "--close-timeout", "0.5", "--udp-rate", "0.5",
        "--allow-low-source-ports", "--receive-buffer", "8M", "--backlog", "5", "--defer-accept", "3",
        "--engine", "portable", "--udp-engine", "portable", "--spin", "12.5", "--fault", "udp:drop=1%,seed=7",
        "--fault", "delay=20ms,seed=8",
    )  # fmt: skip
    assert (echo.port, echo.interfaces, echo.tcp, echo.udp) == (7007, ["127.0.0.1", "::1"], True, False)
    assert (echo.max_connections, echo.max_connections_per_source) == (10, 2)
    assert (echo.idle_timeout, echo.close_timeout, echo.udp_rate) == (60.0, 0.5, 0.5)
    assert (echo.allow_low_source_ports, echo.receive_buffer, echo.backlog) == (True, 8 << 20, 5)
    assert echo.defer_accept == 3
    assert (echo.engine, echo.udp_engine, echo.spin) == ("portable", "portable", 12.5)
    assert echo.fault_rules() == echo.faults == ["udp:drop=1%,seed=7", "delay=20ms,seed=8"]
    assert (service("--spin", "off").spin, service("--spin", "auto").spin) == ("off", "auto")


def test_tls(tmp_path):
    pair = certificates.make(tmp_path)
    echo = service("--tls-port", "7443", "--certificate", str(pair.certificate), "--private-key", str(pair.key))
    assert echo.tls_port == 7443
    assert echo.tls_options.certificate is not None


def test_a_plain_mapping_will_do():
    """As other programs call makeService; nothing is installed for them."""
    assert makeService({"port": 7007}).echo.port == 7007


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("262144", 262144), ("256K", 262144), ("256k", 262144), ("8M", 8388608)]
)
def test_sizes(text, number):
    assert size(text) == number


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "65536"], "--port: '65536' is not a whole number from 0 to 65535"),
        (["--port", "-1"], "--port: '-1' is not a whole number from 0 to 65535"),
        (["--port", "echo"], "--port: 'echo' is not a whole number from 0 to 65535"),
        (["--port", "9" * 5000], "is not a whole number from 0 to 65535"),
        (["--port"], "option --port requires argument"),
        (["--tls-port", "x"], "--tls-port: 'x' is not"),
        (["--tls-port", "7443"], "--tls-port needs a --certificate"),
        (["--private-key", "k.pem"], "--private-key needs a --certificate"),
        (["\n7007" + "x" * 5000], "is not an option"),
        (["--max-connections", "0"], "--max-connections: '0' is not a whole number from 1"),
        (["--idle-timeout", "nan"], "--idle-timeout: 'nan' is not a number of seconds"),
        (["--idle-timeout", "inf"], "--idle-timeout: 'inf' is not a number of seconds"),
        (["--close-timeout", "0"], "--close-timeout: '0' is not a number of seconds"),
        (["--idle-timeout", "0"], "--idle-timeout: '0' is not a number of seconds"),
        (["--udp-rate", "fast"], "--udp-rate: 'fast' is not a number of datagrams per second"),
        (["--receive-buffer", "8G"], "--receive-buffer: '8G' is not a size in bytes"),
        (["--receive-buffer", "0"], "--receive-buffer: '0' is not a size in bytes"),
        (["--spin", "-1"], "--spin: '-1' is not a number of microseconds from 0 to 1000, nor auto or off"),
        (["--spin", "on"], "--spin: 'on' is not"),
        (["--engine", "warp"], "--engine: there is no 'warp' here: choose auto or"),
        (["--udp-engine", "warp"], "--udp-engine: there is no 'warp' here"),
        (["--fault", "dorp=1%"], "--fault: there is no fault 'dorp': choose delay, jitter, drop"),
        (["--fault", ""], "--fault: '' names no fault: write one, such as drop=1%"),
        (["--fault", "drop=1%", "--fault", "tcp:delay=1s"], "--fault: 'tcp:delay=1s' would never apply: 'drop=1%'"),
        (["--fault", "drop=1%", "--engine", "readiness"], "--fault needs the portable engine: drop --engine, or say"),
        (["--udp-engine", "batched", "--fault", "drop=1%"], "needs the portable engine: drop --udp-engine, or say"),
        (["--no-tcp", "--no-udp"], "leave nothing to serve"),
        (["--prot", "7007"], "option --prot not recognized"),
        (["7007"], "'7007' is not an option"),
    ],
)
def test_bad_options(arguments, sentence):
    with pytest.raises(StartupFailure) as caught:
        parse(*arguments)
    assert sentence in str(caught.value)
    assert str(caught.value.code).startswith("echobench: ")
    assert "--help" in str(caught.value)
    assert "\n" not in str(caught.value)


NO_NUMBERS = [
    "", " ", "-1", "+1", "1e400", "1e-400", "nan", "inf", "-inf", "0x10", "1_0", " 1", "1 ", "1\n", "\u0661", "\uff11",
    "\u00b2", "1,5", "9" * 40, "9" * 5000, "\udcff", "\0", "--", "1;2",
]  # fmt: skip
NUMBERS = [
    "port", "tls-port", "max-connections", "max-connections-per-source", "idle-timeout", "close-timeout", "udp-rate",
    "receive-buffer", "backlog", "defer-accept", "spin", "stats-interval", "workers", "worker-timeout",
]  # fmt: skip

NAMES = [
    *("engine", "udp-engine", "interface", "certificate", "private-key", "fault", "steer", "worker-cpus"),
    *("metrics", "log-format"),
]


def refused(*arguments):
    with pytest.raises(StartupFailure) as caught:
        parse(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 300
    return sentence


@pytest.mark.parametrize(
    "option", [*NUMBERS, "metrics", "log-format", "engine", "udp-engine", "interface", "fault", "steer"]
)
@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: ascii(text)[:12])
def test_values_that_make_no_sense(option, text):
    assert f"--{option}: " in refused(f"--{option}={text}")


@pytest.mark.parametrize(
    "option", ["max-connections", "max-connections-per-source", "receive-buffer", "backlog", "defer-accept"]
)
def test_numbers_that_c_cannot_hold(option):
    for text in ("0", "2147483648", "4294967303"):
        assert f"--{option}: '{text}' is not a " in refused(f"--{option}={text}")
    assert parse(f"--{option}=2147483647")[option] == 2147483647


@pytest.mark.parametrize("option", ["certificate", "private-key"])
def test_an_empty_name_of_a_file(option):
    assert f"--{option}: the name of the file is empty" in refused(f"--{option}=")


@pytest.mark.parametrize(
    "address",
    [
        "[",
        "]",
        "[]",
        "[::1",
        "::1]",
        "[127.0.0.1]x",
        "0",
        "1",
        "127.1",
        "localhost",
        "eth0",
        64 * "a",
        300 * "a",
        "::1%",
    ],
)
def test_what_is_no_address(address):
    assert "--interface: " in refused("--interface", address)


@pytest.mark.parametrize("text", [text for text in NO_NUMBERS if text != "1,5"], ids=lambda text: ascii(text)[:12])
def test_what_is_no_list_of_cpus(text):
    assert "--worker-cpus: " in refused("--workers=2", f"--worker-cpus={text}")


def test_every_option_with_a_value_is_in_the_tables_above():
    """A new one has to be added there."""
    known = {*NUMBERS, *NAMES}
    assert {name.rstrip("=") for name in Options().longOpt if name.endswith("=")} == known


WITH_VALUES = st.sampled_from([*NAMES, *NUMBERS])
TEXTS = st.text(max_size=40) | st.from_regex(r"[-+0-9.eE_kKmM]{0,12}", fullmatch=True)


@given(st.lists(st.tuples(WITH_VALUES, TEXTS), max_size=3), st.lists(st.text(max_size=5), max_size=1))
def test_no_options_give_a_traceback(given_options, rest):
    """Whatever is given, the options are read or one sentence says why not."""
    try:
        options = parse(*(f"--{name}={text}" for name, text in given_options), *rest)
    except StartupFailure as failure:
        assert "\n" not in str(failure)  # noqa: PT017 (there may be none)
    else:
        assert EchoService(options["port"], options["interface"], backlog=options["backlog"])


def test_a_certificate_without_a_use(tmp_path):
    pair = certificates.make(tmp_path)
    with pytest.raises(StartupFailure, match="give a --tls-port"):
        service("--certificate", str(pair.certificate), "--private-key", str(pair.key))


def test_a_bad_certificate():
    with pytest.raises(StartupFailure, match="certificate /nowhere cannot be read"):
        service("--tls-port", "7443", "--certificate", "/nowhere")


def test_what_the_user_can_put_right_is_one_sentence(monkeypatch):
    def refuse(*args, **options):
        raise EchobenchError("the moon is full: wait a week")

    monkeypatch.setattr("echobench.server.service.EchoService", refuse)
    with pytest.raises(StartupFailure, match="the moon is full: wait a week"):
        makeService({"port": 7007})


def test_so_is_what_the_service_manager_got_wrong(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "many")
    with pytest.raises(StartupFailure, match="LISTEN_FDS is 'many'"):
        makeService({"port": 7007})


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError])
def test_a_fault_of_ours_keeps_its_traceback(monkeypatch, error):
    """To a user who is told that the option was wrong, nobody could explain what to do about it."""

    def fail(*args, **options):
        raise error("a bug")

    monkeypatch.setattr("echobench.server.service.EchoService", fail)
    with pytest.raises(error, match="a bug") as caught:
        makeService({"port": 7007})
    assert caught.type is error


def test_help_names_every_option():
    text = str(Options())
    for name in Options().longOpt:
        assert f"--{name}" in text


def test_zsh_completion(capsys, monkeypatch):
    import io

    options = Options()
    options._shellCompFile = io.BytesIO()
    with pytest.raises(SystemExit):
        options.parseOptions(["", "--_shell-completion", "zsh:1"])
    script = options._shellCompFile.getvalue().decode()
    assert "--interface" in script
    assert f"(auto {' '.join(STREAM)})" in script
    assert "_files -g" in script


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9101", ("127.0.0.1", 9101)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:9101", ("::1", 9101)),
        ("[fe80::1%lo]:9101", ("fe80::1%lo", 9101)),
    ],
)
def test_where_metrics_go(text, found):
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    assert parse("--metrics", text)["metrics"] == found


@pytest.mark.parametrize(
    "text",
    ["", ":", ":9101", "65536", "::1:9101", "[127.0.0.1]:9101", "localhost:9101", "[::1]", "127.0.0.1:", "9101 ", "-1"],
)
def test_where_metrics_cannot_go(text):
    with pytest.raises(StartupFailure, match=r"--metrics: .+ is not an address such as 9101, 127\.0\.0\.1:9101"):
        parse("--metrics", text)


def test_metrics_without_the_extra(monkeypatch):
    monkeypatch.setattr("echobench.server.plugin.tap.find_spec", lambda name: None)
    with pytest.raises(StartupFailure, match=r"--metrics needs the extra: pip install 'echobench\[metrics\]'"):
        parse("--metrics", "9101")

"""What the options that name machines take, and what they refuse."""

from __future__ import annotations

import pytest

from echobench.bench.cluster.options import hosts, python, scheduler


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("web1", ("web1",)),
        ("web1,load@web2,192.0.2.1", ("web1", "load@web2", "192.0.2.1")),
        ("::1,load@2001:db8::7,fe80::1%eth0", ("::1", "load@2001:db8::7", "fe80::1%eth0")),
    ],
)
def test_hosts(text, found):
    assert hosts(text) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is not a host"),
        ("web1,", "'' is not a host"),
        ("web1,,web2", "'' is not a host"),
        ("web1, web2", "' web2' is not a host"),
        ("-oProxyCommand=date", "'-oProxyCommand=date' is not a host"),
        ("@web1", "'@web1' is not a host"),
        ("web1//python=date", "is not a host"),
        ("web1;date", "is not a host"),
        ("web1,web2,web1", "'web1' is there twice"),
        ("web1:2222", "'web1:2222' has a port, which ssh takes from ~/.ssh/config"),
        ("load@web1:22", "'load@web1:22' has a port"),
    ],
)
def test_what_is_no_host(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        hosts(text)


@pytest.mark.parametrize("text", ["tcp://192.0.2.1:8786", "tls://load.example:1", "tcp://[2001:db8::1]:65535"])
def test_a_scheduler(text):
    assert scheduler(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "192.0.2.1:8786", "tcp://192.0.2.1", "tcp://:8786", "tcp://h:0", "tcp://h:65536", "tcp://2001:db8::1:8786",
     "http://h:8786", "tcp://h:8786/x", "tcp://me@h:8786", "tcp://h:8786,tcp://g:8786"],
)  # fmt: skip
def test_what_is_no_scheduler(text):
    with pytest.raises(ValueError, match=r"is not a scheduler's address such as tcp://192\.0\.2\.1:8786"):
        scheduler(text)


def test_a_python():
    assert python("~/venv//bin/python3.12") == "~/venv/bin/python3.12", "execnet takes // for the end of the name"
    for text in ("", "python -c", "python;date", "a=b"):
        with pytest.raises(ValueError, match="is not the name or the path of a program"):
            python(text)

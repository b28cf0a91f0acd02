"""Arguments of the public API that make no sense: one sentence each, where they are given."""

from __future__ import annotations

import math
import socket
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench import Caps, EchobenchError, EchoService, Guard, RateLimit

NUMBERS = [-1, -0.5, 1 << 31, 1 << 64, 10**400, 1.5, math.nan, math.inf, -math.inf, "7", "", b"7", True, [7], object()]
WHOLE = {"port": (0, 65535), "tls_port": (0, 65535)} | dict.fromkeys(
    ("max_connections", "max_connections_per_source", "receive_buffer", "backlog", "defer_accept"), (1, (1 << 31) - 1)
)
REAL = {"idle_timeout": 31622400.0, "close_timeout": 31622400.0, "udp_rate": 1e9, "spin": 1000.0}


TLS = SimpleNamespace(getContext=None)


def refused(**arguments):
    with pytest.raises((ValueError, TypeError)) as caught:
        EchoService(**arguments)
    sentence = str(caught.value)
    assert sentence.startswith(next(iter(arguments)))
    assert "\n" not in sentence
    assert len(sentence) < 250
    return sentence


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", WHOLE)
def test_no_whole_number(name, value):
    low, high = WHOLE[name]
    assert f"{name} is a whole number from {low} to {high}, not " in refused(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_a_number_that_c_would_wrap(name):
    low, high = WHOLE[name]
    for value in (low - 1, high + 1, (1 << 32) + 7):
        assert str(value) in refused(**{name: value})
    for value in (low, high):
        EchoService(**{"tls_port": None, name: value, "tls_options": TLS})


@pytest.mark.parametrize("value", [each for each in NUMBERS if each != 1.5], ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", REAL)
def test_no_number(name, value):
    assert f"{name} is " in refused(**{name: value})


@pytest.mark.parametrize("name", REAL)
def test_the_ends_of_what_makes_sense(name):
    EchoService(**{name: REAL[name]})
    EchoService(**{name: 1e-9})
    EchoService(**{name: Fraction(1, 3)})
    refused(**{name: math.nextafter(REAL[name], math.inf)})
    refused(**{name: Decimal("NaN")})


def test_zero_is_now_for_a_stop_and_nothing_for_the_others():
    assert EchoService(close_timeout=0).close_timeout == 0
    assert EchoService(spin=0).spin == 0
    for name in ("idle_timeout", "udp_rate"):
        assert "above 0" in refused(**{name: 0})


@pytest.mark.parametrize("name", ["interfaces", "inherited", "inherited_tls", "endpoints"])
@pytest.mark.parametrize("value", ["127.0.0.1", b"::1", 7, None, [7], [None]])
def test_lists(name, value):
    with pytest.raises(TypeError, match=f"{name} is a list of ") as caught:
        EchoService(**{"tls_options": TLS, name: value})
    assert "\n" not in str(caught.value)


def test_a_socket_alone_is_no_list():
    with socket.socket() as sock, pytest.raises(TypeError, match="inherited is a list of sockets, not <socket"):
        EchoService(inherited=sock)


def test_what_is_no_certificate():
    with pytest.raises(TypeError, match=r"tls_options is a twisted.internet.ssl.CertificateOptions, not 'cert.pem'"):
        EchoService(tls_port=0, tls_options="cert.pem")


def test_a_value_that_is_set_later():
    service = EchoService()
    with pytest.raises(ValueError, match="port is a whole number from 0 to 65535, not 70000"):
        service.port = 70000
    assert service.port == 7


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0",
        "127.1",
        "localhost",
        64 * "a",
        300 * "a",
        "a" + 63 * ".b",
        "::1%" + 64 * "9",
        "\0",
        "\udcff",
        "a\nb",
        "[",
    ],
    ids=lambda host: repr(host)[:20],
)
def test_interfaces_that_are_none(host):
    """They are looked at when the service starts, as those are that another machine may have."""
    with pytest.raises(EchobenchError) as caught:
        EchoService(0, [host]).startService()
    assert str(caught.value).startswith("TCP port 0 on ")
    assert "\n" not in str(caught.value)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers() | st.text()),
    st.decimals(), st.fractions(), st.complex_numbers(), st.just(object()),
)  # fmt: skip


@given(name=st.sampled_from([*WHOLE, *REAL, "interfaces", "inherited", "endpoints"]), value=ANYTHING)
def test_whatever_the_value_nothing_else_is_raised(name, value):
    try:
        EchoService(**{name: value})
    except (ValueError, TypeError) as error:
        assert str(error).startswith((name, "TLS needs"))  # noqa: PT017 (there may be none)
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "make",
    [
        lambda: Caps(-1),
        lambda: Caps(0),
        lambda: Caps(per_source=1.5),
        lambda: Caps("many"),
        lambda: RateLimit(math.nan, 1, float),
        lambda: RateLimit(1, math.nan, float),
        lambda: RateLimit(-1, 1, float),
        lambda: Guard([70000]),
        lambda: Guard("7007"),
        lambda: Guard().add_own_port(-1),
    ],
)
def test_the_parts_alone(make):
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert "not" in str(caught.value)

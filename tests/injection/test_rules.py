"""The grammar of --fault: what is read, what is written, and a sentence for all that makes no sense."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echobench.injection.kinds import KINDS, Delay, Faults, Stall
from echobench.injection.rules import FaultError, Rule, read_rule, read_rules, seeded
from echobench.injection.units import LONGEST, MOST

TIMES = st.integers(0, LONGEST)
CHANCES = st.integers(0, 10**9).map(lambda number: Decimal(number).scaleb(-9).normalize())
STALLS = st.tuples(st.integers(1, LONGEST - 1), st.integers(1, LONGEST)).filter(lambda pair: pair[0] < pair[1])
PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda pair: (min(pair), max(pair)))
FAULTS = st.builds(
    Faults,
    delay=st.none() | st.builds(Delay, TIMES, st.none() | TIMES),
    jitter=st.none() | TIMES,
    drop=st.none() | CHANCES,
    duplicate=st.none() | CHANCES,
    reorder=st.none() | CHANCES,
    corrupt=st.none() | CHANCES,
    truncate=st.none() | st.integers(0, MOST),
    close_after=st.none() | st.integers(1, MOST),
    reset=st.none() | CHANCES,
    stall=st.none() | STALLS.map(lambda pair: Stall(*pair)),
    rate=st.none() | st.integers(1, MOST),
)


@st.composite
def rules(draw):
    transport = draw(st.sampled_from([None, "tcp", "udp"]))
    faults = draw(FAULTS)
    if transport == "udp":
        faults = attrs.evolve(faults, close_after=None, reset=None)
    seed = draw(st.none() | st.integers(0, (1 << 32) - 1)) if faults != Faults() else None
    return Rule(faults=faults, transport=transport, ports=draw(st.none() | PORTS), seed=seed)


def test_jitter_alone_is_one_of_five_milliseconds():
    assert str(read_rule("udp@5:jitter,drop=1%,seed=7")) == "udp@5:jitter=5ms,drop=1%,seed=7"
    with pytest.raises(FaultError, match="jitter stands twice"):
        read_rule("jitter,jitter=1ms")


@given(rules())
def test_a_rule_is_written_as_it_is_read(rule):
    assert read_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "delay=20ms",
        "delay=normal(20ms,5ms)",
        "jitter=5ms",
        "drop=1%",
        "duplicate=0.1%",
        "reorder=1%",
        "corrupt=1e-6/byte",
        "truncate=64",
        "close-after=1MB",
        "reset=0.1%",
        "stall=1s/10s",
        "rate=1MB/s",
        "udp:drop=1%,seed=7",
        "tcp@40000-40009:delay=20ms,reset=1%",
        "@40000:none",
        "none",
    ],
)
def test_what_people_write_stays_as_it_is(text):
    assert str(read_rule(text)) == text


def test_a_whole_rule():
    assert read_rule("tcp@40000-40009:seed=7,delay=normal(20ms,5ms),corrupt=1e-6/byte,stall=1s/10s") == Rule(
        faults=Faults(
            delay=Delay(20_000_000, 5_000_000), corrupt=Decimal("1e-6"), stall=Stall(1_000_000_000, 10_000_000_000)
        ),
        transport="tcp",
        ports=(40000, 40009),
        seed=7,
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' names no fault: write one, such as drop=1%, or none"),
        ("tcp:", "'tcp:' names no fault"),
        ("dorp=1%", "there is no fault 'dorp': choose delay, jitter, drop"),
        ("drop=1%,none", "there is no fault 'none': none stands alone"),
        ("drop=1%,", "there is no fault '': choose"),
        ("Drop=1%", "there is no fault 'Drop'"),
        ("drop", "drop has no value: write drop=1%"),
        ("jitter=", "jitter has no value: write jitter=5ms"),
        ("drop=", "drop has no value"),
        ("drop=1%,drop=2%", "drop stands twice in 'drop=1%,drop=2%': drop one"),
        ("drop=1", "drop: '1' may mean 1% or always"),
        ("delay=20", "delay: '20' is not a time in us, ms or s up to 86400s, such as 20ms or normal(20ms,5ms)"),
        ("delay=normal(20ms)", "delay: 'normal(20ms)' is not normal(MEAN,DEVIATION), such as normal(20ms,5ms)"),
        ("delay=normal(20ms,5)", "delay: '5' is not a time"),
        ("delay=normal(20ms,5ms", "delay: 'normal(20ms' is not normal("),
        ("corrupt=1%", "corrupt: '1%' is not a chance of each byte, such as 1e-6/byte"),
        ("stall=1s", "stall: '1s' is not LENGTH/PERIOD, such as 1s/10s"),
        ("stall=10s/1s", "stall: '10s/1s' is not a stall shorter than its period"),
        ("stall=0s/1s", "is not a stall shorter than its period"),
        ("close-after=0", "close-after: '0' is not a whole number of bytes from 1"),
        ("rate=1MB", "rate: '1MB' is not a rate"),
        ("seed=7", "'seed=7' names no fault: write one beside the seed"),
        ("drop=1%,seed=4294967296", "seed: '4294967296' is not a whole number from 0 to 4294967295"),
        ("drop=1%,seed=1,seed=2", "seed stands twice"),
        ("drop=1%,seed", "seed has no value: write seed=7"),
        ("udp:reset=1%", "reset is for streams only, for UDP has no connection to reset: drop it, or say tcp"),
        ("udp:close-after=1MB", "close-after is for streams only"),
        ("sctp:drop=1%", "'sctp' selects nothing: write tcp, udp, @PORT or @LOW-HIGH, or as one tcp@PORT"),
        (":drop=1%", "'' selects nothing"),
        ("@:drop=1%", "'@' selects nothing"),
        ("@0:drop=1%", "'@0' is not a range of source ports from 1 to 65535"),
        ("@65536:drop=1%", "is not a range of source ports"),
        ("@9-8:drop=1%", "is not a range of source ports from 1 to 65535, the lower one first"),
        ("tcp@\u0661:drop=1%", "selects nothing"),
        ("drop=1%" + "x" * 1000, "is longer than 1000 characters"),
    ],
)
def test_what_makes_no_sense(text, sentence):
    with pytest.raises(FaultError) as caught:
        read_rule(text)
    assert sentence in str(caught.value)


VALUES = st.sampled_from(["1%", "20ms", "normal(1ms,1ms)", "normal(", "1s/2s", "64", "1MB/s", "1e-6/byte", "7", ""])
ITEMS = st.builds("{}={}".format, st.sampled_from([*KINDS, "seed", "none"]), VALUES | st.text(max_size=8))
HOSTILE = st.builds(
    "{}{}".format,
    st.sampled_from(["", "tcp:", "udp@5:", "@1-2:", "@", ":", "tcp@"]) | st.text(max_size=6),
    st.lists(ITEMS | st.text(max_size=12), max_size=4).map(",".join),
)


@given(HOSTILE | st.text(max_size=60))
@example("delay=normal(" + "," * 900)
@example("," * 1000)
@example("(" * 1000)
@example("\udcff\0\n=")
def test_whatever_is_given_is_read_or_gets_a_sentence(text):
    try:
        rule = read_rule(text)
    except FaultError as error:
        sentence = str(error)
        assert "\n" not in sentence
        assert len(sentence) < 400
    else:
        assert read_rule(str(rule)) == rule


def test_the_first_rule_that_concerns_a_flow_is_its_own():
    tcp, few, rest = read_rules(["tcp@1-9:drop=1%", "@5-20:none", "drop=2%"])
    assert [rule.concerns("tcp", 9) for rule in (tcp, few, rest)] == [True, True, True]
    assert [rule.concerns("udp", 9) for rule in (tcp, few, rest)] == [False, True, True]
    assert [rule.concerns("udp", 21) for rule in (tcp, few, rest)] == [False, False, True]
    assert [rule.concerns("tcp", None) for rule in (tcp, few, rest)] == [False, False, True]


@pytest.mark.parametrize(
    "texts",
    [
        ("drop=1%", "tcp:drop=2%"),
        ("tcp:drop=1%", "tcp@5:drop=2%"),
        ("@1-9:none", "udp@2-9:drop=1%"),
        ("none", "none"),
    ],
)
def test_a_rule_that_would_never_apply(texts):
    with pytest.raises(FaultError, match=f"'{texts[1]}' would never apply: '{texts[0]}' comes first"):
        read_rules(texts)
    if texts[0] != texts[1]:
        assert len(read_rules(reversed(texts))) == 2


def test_seeds_are_drawn_for_rules_that_have_none():
    drawn = iter(range(50, 60))
    found = seeded(read_rules(["tcp:drop=1%", "udp@7:none", "udp:drop=1%,seed=3"]), lambda below: next(drawn))
    assert [str(rule) for rule in found] == ["tcp:drop=1%,seed=50", "udp@7:none", "udp:drop=1%,seed=3"]


@pytest.mark.parametrize(
    ("text", "random"),
    [
        *((f"{name}={kind.example}", name not in ("delay", "truncate", "close-after", "stall", "rate"))
          for name, kind in KINDS.items()),
        ("delay=normal(20ms,5ms)", True),
        ("delay=normal(20ms,0s)", False),
        ("drop=0%", False),
    ],
)  # fmt: skip
def test_only_what_is_random_needs_a_seed(text, random):
    (rule,) = seeded([read_rule(text)], lambda below: 5)
    assert str(rule) == text + (",seed=5" if random else "")


def test_every_fault_has_an_example_that_is_read():
    for name, kind in KINDS.items():
        assert read_rule(f"{name}={kind.example}").kinds() == [name]

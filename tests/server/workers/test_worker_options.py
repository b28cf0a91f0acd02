"""The options of workers: what they mean, and one sentence for each that makes no sense."""

from __future__ import annotations

import re

import pytest

from echobench.server.plugin.failure import StartupFailure
from echobench.server.plugin.parent_program import ParentProgram
from echobench.server.plugin.tap import Options, makeService
from echobench.server.processes.parent import Parent
from echobench.server.workers.cpus import cores


def parse(*arguments):
    options = Options()
    options.parseOptions(arguments)
    return options


def parent(*arguments):
    made = makeService(parse(*arguments))
    assert isinstance(made, ParentProgram)
    assert isinstance(made.echo, Parent)
    return made.echo


def test_every_option_arrives():
    echo = parent(
        "--workers", "3", "--worker-cpus", "4-5,0", "--steer", "cpu", "--worker-timeout", "30", "--port", "7007",
        "--no-tcp", "--udp-rate", "5", "--idle-timeout", "9",
    )  # fmt: skip
    assert (echo.number, echo.cpus, echo.steer, echo.timeout) == (3, [4, 5, 0], "cpu", 30.0)
    assert (echo.placing["port"], echo.placing["tcp"], echo.placing["udp"]) == (7007, False, True)
    assert (echo.serving["udp_rate"], echo.serving["idle_timeout"]) == (5.0, 9.0)


def test_defaults():
    echo = parent("--workers", "2")
    assert (echo.cpus, echo.steer, echo.timeout, echo.certificate) == (None, "hash", None, None)


def test_all_workers_have_the_same_rules_with_the_same_seeds():
    echo = parent("--workers", "2", "--fault", "udp:drop=1%", "--fault", "tcp:delay=5ms")
    assert re.fullmatch(r"udp:drop=1%,seed=\d+", echo.faults[0])
    assert echo.faults[1] == "tcp:delay=5ms"
    assert echo.serving["faults"] == echo.faults
    assert echo.where() == f"workers=2 FAULT={echo.faults[0]} FAULT=tcp:delay=5ms".rjust(len(echo.where()))


def test_auto_is_a_number():
    assert parse("--workers", "auto")["workers"] == cores()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "--workers: '0' is not a whole number from 1 to 256, nor auto"),
        (["--workers", "257"], "--workers: '257' is not a whole number from 1 to 256, nor auto"),
        (["--workers", "many"], "--workers: 'many' is not a whole number from 1 to 256, nor auto"),
        (["--workers", "2", "--worker-cpus", "3-1"], "'3-1' is not a list of CPUs such as 0-3,8, nor auto"),
        (["--workers", "2", "--worker-cpus", ""], "'' is not a list of CPUs such as 0-3,8, nor auto"),
        (["--workers", "2", "--steer", "luck"], "--steer: there is no 'luck' here: choose hash or cpu"),
        (["--workers", "2", "--worker-timeout", "1"], "--worker-timeout: '1' is not a number of seconds from 3 to"),
        (["--worker-cpus", "auto"], "--worker-cpus needs --workers 2 or more, and there is 1"),
        (["--worker-timeout", "9"], "--worker-timeout needs --workers 2 or more, and there is 1"),
        (["--steer", "cpu"], "--steer cpu needs --workers 2 or more, and there is 1"),
    ],
)
def test_one_sentence_for_each_that_makes_no_sense(arguments, sentence):
    with pytest.raises(StartupFailure) as caught:
        parse(*arguments)
    assert sentence in str(caught.value)

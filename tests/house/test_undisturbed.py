"""What is repeated is: and fails if it fails on a machine that was there all the time."""

from __future__ import annotations

import pytest
from rigs import undisturbed
from rigs.undisturbed import ATTEMPTS, DisturbedError, Repeated, unless_disturbed, witness


class Machine:
    """Stands still for as long as it is told in each attempt."""

    def __init__(self, monkeypatch, *gaps):
        self.left = list(gaps)
        self.tries = 0
        monkeypatch.setattr(undisturbed, "witness", self.witness)

    @undisturbed.contextlib.contextmanager
    def witness(self):
        yield lambda: self.left.pop(0)

    def fails(self, times, always=False):
        def test():
            self.tries += 1
            assert not always
            with unless_disturbed():
                assert self.tries > times

        return Repeated()(test)


def test_what_holds_at_once_is_not_repeated(monkeypatch):
    machine = Machine(monkeypatch)
    machine.fails(0)()
    assert machine.tries == 1


def test_what_holds_in_the_end(monkeypatch):
    machine = Machine(monkeypatch, *[0.0] * ATTEMPTS)
    machine.fails(ATTEMPTS - 1)()
    assert machine.tries == ATTEMPTS


def test_what_always_holds_fails_at_once(monkeypatch):
    machine = Machine(monkeypatch)
    with pytest.raises(AssertionError) as caught:
        machine.fails(0, always=True)()
    assert not isinstance(caught.value, DisturbedError)
    assert machine.tries == 1


def test_one_attempt_that_nothing_disturbed_is_enough_to_fail(monkeypatch):
    machine = Machine(monkeypatch, 0.5, 0.5, 0.001, 0.5, 0.5)
    with pytest.raises(DisturbedError):
        machine.fails(ATTEMPTS)()
    assert machine.tries == ATTEMPTS


def test_if_all_were_disturbed_nothing_can_be_said(monkeypatch):
    machine = Machine(monkeypatch, *[0.5] * ATTEMPTS)
    with pytest.raises(pytest.skip.Exception, match="for up to 500, 500, 500, 500, 500 ms: assert 5 > 5"):
        machine.fails(ATTEMPTS)()


def test_the_witness_wakes():
    with witness() as gap:
        pass
    with witness() as gap:
        assert 0 <= gap() < 60

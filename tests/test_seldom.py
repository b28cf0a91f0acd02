"""At most once a minute, and how often in between."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from echobench.seldom import MINUTE, Seldom


def test_the_first_is_logged_and_then_one_a_minute():
    now = [5.0]
    seldom = Seldom(lambda: now[0])
    assert seldom.due()
    assert seldom.more == ""
    for now[0] in (5.0, 30.0, 64.9):
        assert not seldom.due()
    now[0] = 65.0
    assert seldom.due()
    assert seldom.more == " (and 3 times more since this was last logged)"
    now[0] = 1000.0
    assert seldom.due()
    assert seldom.more == "", "none was left out since"


@given(gaps=st.lists(st.floats(0, 100), max_size=100))
def test_never_more_than_one_a_minute_and_none_is_lost(gaps):
    now, logged, counted = [0.0], [], 0
    seldom = Seldom(lambda: now[0])
    for gap in gaps:
        now[0] += gap
        if seldom.due():
            logged.append(now[0])
            counted += 1 + int(seldom.more.split()[1] if seldom.more else 0)
    assert all(later - earlier >= MINUTE for earlier, later in itertools.pairwise(logged))
    assert counted + seldom._silent == len(gaps)

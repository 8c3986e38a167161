"""The allowance is a bound."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from streameval.serve.allowance import BURST, Allowance


@given(st.lists(st.tuples(st.floats(0.001, 0.3), st.floats(0, 2)), max_size=50), st.floats(0.01, 0.5))
def test_whoever_waits_for_it_gets_no_more_than_its_share(asks, share):
    clock = [0.0]
    allowance = Allowance(share, lambda: clock[0])
    spent = 0.0
    for cost, pause in asks:
        clock[0] += allowance.missing() + pause
        allowance.spend(cost)
        spent += cost
    assert spent <= BURST + share * clock[0] + max((cost for cost, _ in asks), default=0) + 1e-9


def test_whoever_asks_too_much_waits_and_is_not_refused():
    allowance = Allowance(share=1.0)
    allowance.spend(BURST + 0.05)
    assert 0 < allowance.missing() <= 0.05
    asyncio.run(allowance.granted())
    assert allowance.missing() == 0

"""Latest wins: what a field of a row holds after further outcomes.

Invariant: a field holds the value with the largest `(ts, value)` among those applied, so the result does not depend on
the order in which they were applied, and the values between follow the order given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def latest(group: I64, value: F64, ts: I64, held: F64, held_ts: I64) -> tuple[F64, F64, F64, I64]:
    """Apply values to fields, one after the other.

    Args: `group` int64[n], ascending from 0, the field each value goes to, in the order to apply; `value` float64[n],
    nan for none; `ts` int64[n] ms; `held` float64[g], `held_ts` int64[g]: what the fields hold before, nan for none.
    Returns `(before[n], after[n], final[g], final_ts[g])`.

    >>> zero = np.zeros(2, np.int64)
    >>> before, after, final, ts = latest(zero, np.array([1.0, 5.0]), np.array([9, 7]), np.array([np.nan]), zero[:1])
    >>> before.tolist(), after.tolist(), final.tolist(), ts.tolist()
    ([nan, 1.0], [1.0, 1.0], [1.0], [9])
    """
    if len(group) == len(held):
        newer = (ts > held_ts) | ((ts == held_ts) & (value > held))
        wins = ~np.isnan(value) & (np.isnan(held) | newer)
        after = np.where(wins, value, held)
        return held, after, after, np.where(wins, ts, held_ts)
    fields = np.arange(len(held))
    everything = np.concatenate([held, value])
    times = np.concatenate([held_ts, ts])
    known = np.flatnonzero(~np.isnan(everything))
    known = known[np.lexsort((everything[known], times[known]))]
    values, moments = everything[known], times[known]
    step = np.ones(len(known), np.int64)
    step[1:] = (values[1:] != values[:-1]) | (moments[1:] != moments[:-1])
    rank = np.zeros(len(everything), np.int64)  # 0: none
    rank[known] = np.cumsum(step)
    by_rank = np.concatenate([[np.nan], values[step == 1]])
    ts_by_rank = np.concatenate([[0], moments[step == 1]])
    # Each field's own value stands before the values that go to it; a field's offset keeps its running maximum its own.
    own = np.searchsorted(group, fields) + fields
    given = np.arange(len(group)) + group + 1
    line = np.empty(len(everything), np.int64)
    line[own], line[given] = rank[: len(held)], rank[len(held) :]
    offset = np.empty(len(everything), np.int64)
    offset[own], offset[given] = fields, group
    offset *= len(by_rank)
    running = np.maximum.accumulate(line + offset) - offset
    last = np.append(own[1:], len(line)) - 1
    return by_rank[running[given - 1]], by_rank[running[given]], by_rank[running[last]], ts_by_rank[running[last]]

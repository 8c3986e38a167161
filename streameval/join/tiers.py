"""Tiers: when small runs become one larger run.

Invariant: only neighbours merge, newest last, so a list of runs stays in the order of arrival; their number grows with
the logarithm of what they hold, and no run outgrows `SEALED` rows by merging. Source: the log-structured merge-tree
(O'Neil et al. 1996), tiered with a fan-out of four.
"""

from __future__ import annotations

from collections.abc import Sequence

SEALED = 1_100_000  # rows beyond which runs are left alone: large enough for few lookups, small enough to expire whole
FAN_OUT = 4


def _tier(size: int) -> int:
    return max(0, (size.bit_length() - 9) // 2)


def due(sizes: Sequence[int], cap: int = SEALED) -> int:
    """How many of the newest runs should merge into one now; 0 for none.

    >>> due([5000, 10, 10, 10]), due([5000, 10, 10, 10, 10])
    (0, 4)
    """
    if not sizes:
        return 0
    tier, total, count = _tier(sizes[-1]), 0, 0
    for size in reversed(sizes):
        if _tier(size) > tier or total + size > cap:
            break
        total += size
        count += 1
    return count if count >= FAN_OUT else 0

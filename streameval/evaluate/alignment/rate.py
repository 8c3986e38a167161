"""An interval for a rate that may be looked at after every event: valid at all times at once.

The mixture of all Bernoulli likelihoods under a Jeffreys prior, divided by the likelihood of a rate p, is a
martingale when p is true; by Ville's inequality it ever exceeds 1/alpha with probability alpha at most. The rates that
it has not refuted are the interval.

Invariant: the interval holds the observed rate; it covers the truth at every moment of the stream with the published
confidence.

Source: Robbins (1970); Howard, Ramdas, McAuliffe and Sekhon (2021), section 3.
"""

from __future__ import annotations

from math import log

from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from streameval.evaluate.estimate import CONFIDENCE, Estimate

_PRIOR = 0.5


def anytime_rate(successes: int, failures: int) -> Estimate | None:
    """The rate of successes; None of no event.

    >>> [round(x, 3) for x in anytime_rate(50, 50)]
    [0.5, 0.338, 0.662]
    """
    n = successes + failures
    if not n:
        return None
    mixture = betaln(_PRIOR + successes, _PRIOR + failures) - betaln(_PRIOR, _PRIOR)
    limit = mixture + log(1.0 - CONFIDENCE)

    def excess(p: float) -> float:
        return float(xlogy(successes, p) + xlog1py(failures, -p) - limit)

    rate = successes / n
    low = brentq(excess, 1e-12, rate) if successes and excess(1e-12) < 0.0 else 0.0
    high = brentq(excess, rate, 1.0 - 1e-12) if failures and excess(1.0 - 1e-12) < 0.0 else 1.0
    return Estimate(rate, float(low), float(high))

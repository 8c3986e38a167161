"""Prevalence from labels: how many of a model's examples are positive, from matured cohorts only.

Invariant: the state is a function of the evidence learnt, in order; by windows it needs none.

The prior is Jeffreys': of windows of 100 to 5,000 events its intervals hold any prevalence of .0001 to .5 in 88 % at
least, and mostly in 95 %; those from a uniform prior sink to 79 % where a positive or two are expected.

Source: METHODS, section 3; the posterior is `river.proba.Beta`; Brown, Cai and DasGupta (2001) for its coverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from river.proba import Beta
from scipy.special import betaincinv

from streameval.evaluate.estimate import TAIL, Estimate
from streameval.evidence import BinaryEvidence
from streameval.evidence.binary import check_version

_STATE_VERSION: Final = 1
_PRIOR: Final = 0.5


def posterior(positives: float, negatives: float) -> Beta:
    """The Beta posterior of the prevalence, from Jeffreys' prior."""
    # River adds one observation at a time; the parameters are the sums of all of them.
    return Beta(_PRIOR + positives, _PRIOR + negatives)  # type: ignore[arg-type]  # annotated int, used as floats


def prevalence(positives: float, negatives: float) -> Estimate | None:
    """The share of positives with the posterior's interval; None of no example.

    >>> [round(x, 4) for x in prevalence(5, 95)]
    [0.05, 0.0193, 0.1061]
    """
    if positives + negatives <= 0.0:
        return None
    beta = posterior(positives, negatives)
    low, high = betaincinv(beta.alpha, beta.beta, (TAIL, 1.0 - TAIL)).tolist()
    return Estimate(positives / (positives + negatives), low if positives else 0.0, high if negatives else 1.0)


def windowed(evidence: BinaryEvidence) -> Estimate | None:
    """The prevalence of an interval's or a window's evidence."""
    return prevalence(evidence.positives, evidence.negatives)


class DecayedPrevalence:
    """The prevalence with weights that halve every `half_life` examples.

    The interval is that of as many examples as the weights are worth: Kish's n = (Σw)²/Σw².

    >>> p = DecayedPrevalence(half_life=1000)
    >>> import numpy as np
    >>> p.learn_evidence(BinaryEvidence.of(np.full(100, 0.1), np.arange(100) % 10 == 0))
    >>> round(p.estimate().value, 3)
    0.1
    """

    def __init__(self, half_life: float = 10_000.0) -> None:
        self.half_life = half_life
        self._weight = 0.0
        self._squared_weight = 0.0
        self._positive_weight = 0.0

    def learn_evidence(self, evidence: BinaryEvidence) -> None:
        """Let older examples fade by as many as are new, and add the new."""
        n = evidence.events
        fade = 0.5 ** (n / self.half_life)
        self._weight = self._weight * fade + n
        self._squared_weight = self._squared_weight * fade * fade + n
        self._positive_weight = self._positive_weight * fade + evidence.positives

    def estimate(self) -> Estimate | None:
        """The prevalence now; None before the first example."""
        if not self._weight:
            return None
        worth = self._weight / self._squared_weight
        return prevalence(self._positive_weight * worth, (self._weight - self._positive_weight) * worth)

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on bit for bit."""
        return {
            "version": _STATE_VERSION,
            "half_life": self.half_life,
            "weight": self._weight,
            "squared_weight": self._squared_weight,
            "positive_weight": self._positive_weight,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`.

        Raises:
            StateVersionError: the state was written by a newer release.
        """
        check_version(state, _STATE_VERSION, "prevalence")
        new = cls(state["half_life"])
        new._weight = state["weight"]
        new._squared_weight = state["squared_weight"]
        new._positive_weight = state["positive_weight"]
        return new

"""Loss against KPI, for people: one sentence that needs no statistics, and the pairs that it rests on.

Invariant: the sentence claims no more than the comparison may: an association is called one.

Source: METHODS, section 6.
"""

from __future__ import annotations

from typing import Any, Final

from streameval.serve import words
from streameval.serve.series import Comparison

__all__ = ["sentence", "title", "traces"]

_EVEN: Final = 0.5
_FEW: Final = 20


def title(known: Comparison) -> str:
    """The panel's heading.

    >>> title(Comparison(0, "log_loss", "cost", "across_time", None, 1.0, 5))
    'Does a better log loss mean a better cost per decision?'
    """
    against = "" if known.against is None else f" (against version {known.against})"
    return f"Does a better {words.metric(known.loss).lower()} mean a better {words.metric(known.kpi).lower()}?{against}"


def sentence(known: Comparison) -> str:
    """What a product manager should take from it.

    >>> from streameval.serve.series import Estimate
    >>> known = Comparison(0, "log_loss", "revenue", "randomised", Estimate(0.1, 0.05, 0.3), 0.2, 50)
    >>> sentence(known).partition(" (")[0]
    'Yes, mostly: when the log loss got better, so did revenue, in 36 of 40 decided comparisons'
    """
    decided = round(known.pairs * (1.0 - known.undecided))
    loss, kpi = words.metric(known.loss).lower(), words.metric(known.kpi).lower()
    rate = known.disagreement
    if rate is None or rate.low is None or rate.high is None or not decided:
        told = f"Too early to say: {words.count(known.pairs, 'comparison')}, none of them decided."
        return f"{told}{_warning(known)}"
    agreed = decided - round(rate.value * decided)
    share = f"disagreement {words.percent(rate.value)}, {words.percent(rate.low)} to {words.percent(rate.high)}"
    if rate.high < _EVEN:
        said = f"Yes, mostly: when the {loss} got better, so did {kpi}, in {agreed} of {decided} decided comparisons"
    elif rate.low > _EVEN:
        said = (
            f"No, the opposite: when the {loss} got better, {kpi} got worse, in {decided - agreed} of {decided} "
            "decided comparisons"
        )
    elif decided < _FEW:
        said = f"Too early to say: they agreed in {agreed} of {decided} decided comparisons"
    else:
        said = f"It cannot be told from chance: they agreed in {agreed} of {decided} decided comparisons"
    close = f" {known.pairs - decided} of {known.pairs} were too close to call."
    return f"{said} ({share}).{close}{_goodhart(known)}{_warning(known)}"


def traces(known: Comparison) -> list[dict[str, Any]]:
    """The pairs as points: loss gain to the right, KPI gain upwards; disagreement lies upper left and lower right."""
    out = []
    for decided, name, colour, symbol in ((True, "decided", "$first", "circle"), (False, "too close", "$muted", "x")):
        pairs = [(x, y) for x, y, known_ in known.recent if known_ is decided]
        if pairs:
            out.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [float(f"{x:.4g}") for x, _ in pairs],
                    "y": [float(f"{y:.4g}") for _, y in pairs],
                    "hovertemplate": "loss better by %{x}<br>KPI better by %{y}<extra></extra>",
                    "marker": {"color": colour, "symbol": symbol, "size": 8},
                }
            )
    return out


def _goodhart(known: Comparison) -> str:
    return " Beware: where the loss gained most, the KPI fell." if known.goodhart else ""


def _warning(known: Comparison) -> str:
    if known.basis == "association":
        return " An association only: the versions were not assigned at random, so other differences may explain it."
    if known.basis == "across_time":
        return " Over time, on one model: it says what happened together, not what caused it."
    return ""

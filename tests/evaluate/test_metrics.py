import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import chi2
from sklearn import metrics as sk

from streameval.evaluate.estimate import normal, on_logit, proportion, score_interval, summed, wilson
from streameval.evaluate.metrics import METRICS, auc_of, binary_metrics, confusion
from streameval.evidence import EDGES, BinaryEvidence, threshold_bin

LAWS = {
    "uniform": lambda rng, n: rng.random(n),
    "Beta(1, 19)": lambda rng, n: rng.beta(1, 19, n),
    "Beta(.05, 5)": lambda rng, n: rng.beta(0.05, 5, n),
    "logit-normal": lambda rng, n: expit(rng.normal(-4, 2, n)),
}


def sample(law, n, prevalence, seed):
    """Scores of a law, and as many positives as the prevalence says, the likelier the higher the score."""
    rng = np.random.default_rng(seed)
    score = LAWS[law](rng, n)
    # Gumbel's trick: the largest of log weight + noise are a draw without replacement by weight.
    order = np.argsort(-(0.5 * np.log(score + 1e-12) - np.log(-np.log(rng.random(n)))))
    label = np.zeros(n, np.int8)
    label[order[: max(1, round(n * prevalence))]] = 1
    return score, label


@pytest.mark.parametrize("prevalence", [0.05, 0.001])
@pytest.mark.parametrize("law", LAWS)
def test_the_auc_of_bins_is_within_a_ten_thousandth_of_the_exact_one(law, prevalence):
    for n, tolerance in ((20_000, 1e-4), (100_000, 1e-4), (4_000, 1e-3)):
        score, label = sample(law, n, prevalence, seed=n)
        auc = binary_metrics(BinaryEvidence.of(score, label), 0.5)["auc"].value
        assert auc == pytest.approx(sk.roc_auc_score(label, score), abs=tolerance)


def test_uniform_bins_and_rivers_default_would_miss_by_far_what_log_linear_bins_meet():
    score, label = sample("Beta(.05, 5)", 20_000, 0.05, 1)
    exact = sk.roc_auc_score(label, score)
    coarse = np.floor(score * 64)
    assert abs(sk.roc_auc_score(label, coarse) - exact) > 0.005
    assert binary_metrics(BinaryEvidence.of(score, label), 0.5)["auc"].value == pytest.approx(exact, abs=1e-4)


binned = st.lists(
    st.tuples(st.sampled_from(EDGES[[0, 40, 900, 2500, 3000, 3713, 5000, 7300, 7426]].tolist()), st.integers(0, 1)),
    min_size=2,
    max_size=60,
)


@settings(max_examples=80)
@given(binned, st.sampled_from(EDGES[[0, 900, 3713, 5000, 7426]].tolist()))
def test_on_scores_that_are_edges_every_metric_equals_scikit_learns(rows, threshold):
    score, label = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    m = {name: e.value for name, e in binary_metrics(BinaryEvidence.of(score, label), threshold).items()}
    decided = score >= threshold
    assert m["brier"] == pytest.approx(np.mean((score - label) ** 2), abs=1e-8)
    assert m["log_loss"] == pytest.approx(sk.log_loss(label, np.clip(score, 1e-15, 1 - 1e-15), labels=[0, 1]), abs=1e-8)
    assert ("auc" in m) == (0 < label.sum() < len(label))
    if "auc" in m:
        assert m["auc"] == pytest.approx(sk.roc_auc_score(label, score))
    assert ("average_precision" in m) == bool(label.any())
    if label.any():
        assert m["average_precision"] == pytest.approx(sk.average_precision_score(label, score))
        assert m["recall"] == pytest.approx(sk.recall_score(label, decided))
    assert ("precision" in m) == bool(decided.any())
    if decided.any():
        assert m["precision"] == pytest.approx(sk.precision_score(label, decided))
    assert ("f1" in m) == bool(decided.any() or label.any())
    if "f1" in m:
        assert m["f1"] == pytest.approx(sk.f1_score(label, decided))
    c = confusion(BinaryEvidence.of(score, label), threshold)
    assert [[c.tn, c.fp], [c.fn, c.tp]] == sk.confusion_matrix(label, decided, labels=[0, 1]).tolist()


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1), st.floats(-100, 100) | st.just(math.nan)), max_size=40),
    st.floats(0, 1.1),
)
def test_an_interval_always_holds_its_value_and_is_finite_where_the_data_vary(rows, threshold):
    score, label, kpi = (np.array([r[i] for r in rows], np.float64) for i in range(3))
    e = BinaryEvidence.of(score, label.astype(np.int8), {"kpi": kpi}, {"kpi": 0.01})
    m = binary_metrics(e, threshold, (1.0, 10.0), {"kpi": 0.01})
    for name, estimate in m.items():
        assert estimate.low <= estimate.value + 1e-12, name
        assert estimate.value <= estimate.high + 1e-12, name
        # Of a KPI that never varied, the data bound nothing.
        bounded = name != "kpi" or len(set(np.rint(kpi[~np.isnan(kpi)] * 100))) > 1
        assert all(math.isfinite(x) for x in estimate) == bounded, name
    assert ("kpi" in m) == (np.count_nonzero(~np.isnan(kpi)) >= 2)
    assert m.keys() <= {*METRICS, "kpi"}


def test_of_no_example_no_metric_is_defined():
    assert binary_metrics(BinaryEvidence.empty(), 0.5, (1.0, 10.0)) == {}
    assert confusion(BinaryEvidence.empty(), 0.5) == (0, 0, 0, 0)


def test_a_kpi_is_the_mean_over_the_examples_that_have_it_in_its_own_unit():
    kpi = np.array([1.25, np.nan, 2.75, 5.0])
    e = BinaryEvidence.of(np.full(4, 0.3), np.array([0, 1, 0, 1]), {"revenue": kpi}, {"revenue": 0.01})
    found = binary_metrics(e, 0.5, scales={"revenue": 0.01})["revenue"]
    assert found.value == pytest.approx(3.0)
    assert found.value - found.low == pytest.approx(1.959964 * np.nanstd(kpi, ddof=1) / math.sqrt(3))
    assert found.high - found.value >= found.value - found.low


def test_of_a_kpi_that_was_always_the_same_nothing_is_known_of_the_next():
    e = BinaryEvidence.of(np.full(500, 0.3), np.zeros(500, np.int8), {"revenue": np.zeros(500)}, {"revenue": 0.01})
    found = binary_metrics(e, 0.5, scales={"revenue": 0.01})["revenue"]
    assert found == (0.0, -math.inf, math.inf)


def test_a_kpi_that_few_events_make_up_has_a_lopsided_interval_and_one_that_all_share_a_normal_one():
    rng = np.random.default_rng(12)
    few = np.where(np.arange(2000) < 4, rng.lognormal(3, 1, 2000), 0.0)
    for kpi, lopsided in ((few, True), (-few, True), (rng.normal(100, 1, 2000), False)):
        e = BinaryEvidence.of(np.full(2000, 0.3), np.zeros(2000, np.int8), {"kpi": kpi}, {"kpi": 0.01})
        found = binary_metrics(e, 0.5, scales={"kpi": 0.01})["kpi"]
        ends = sorted((found.high - found.value, found.value - found.low))
        assert (ends[1] > 1.5 * ends[0]) == lopsided
        assert lopsided or ends[1] == pytest.approx(1.96 / math.sqrt(2000), rel=0.1)


def test_cost_is_the_mean_cost_of_mistakes_at_the_threshold():
    e = BinaryEvidence.of(np.array([0.1, 0.2, 0.6, 0.7]), np.array([0, 1, 0, 1]))
    cost = binary_metrics(e, 0.5, (1.0, 10.0))["cost"]
    assert cost.value == 11 / 4
    assert "cost" not in binary_metrics(e, 0.5)


def test_mistakes_that_were_not_seen_are_reckoned_with():
    e = BinaryEvidence.of(np.full(1000, 0.1), np.zeros(1000, np.int8))
    cost = binary_metrics(e, 0.5, (1.0, 10.0))["cost"]
    # No false negative in 1000 events: 3.7 of them at most, and as many false positives of a tenth of their price.
    assert cost.value == cost.low == 0.0
    assert cost.high == pytest.approx(math.hypot(3.689, 36.89) / 1000, rel=1e-3)
    # The losses too: a positive would lose -ln .1.
    loss = binary_metrics(e, 0.5)["log_loss"]
    assert loss.high - loss.value == pytest.approx(3.689 / 1000 * (-math.log(0.1) + math.log(0.9)), rel=0.01)


def test_a_threshold_inside_a_bin_acts_from_the_bins_lower_edge():
    edge = EDGES[threshold_bin(0.3)]
    e = BinaryEvidence.of(np.array([edge, 0.2]), np.array([1, 0]))
    assert confusion(e, 0.3) == confusion(e, edge) == (1, 0, 0, 1)


def test_delongs_interval_is_that_of_the_placements():
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 3000)
    score = EDGES[np.clip(3700 + (rng.normal(size=3000) * 200 + label * 150).astype(int), 1, 7400)]
    pos, neg = score[label == 1], score[label == 0]
    wins = (pos[:, None] > neg) + 0.5 * (pos[:, None] == neg)
    variance = wins.mean(axis=1).var(ddof=1) / len(pos) + wins.mean(axis=0).var(ddof=1) / len(neg)
    found = binary_metrics(BinaryEvidence.of(score, label), 0.5)["auc"]
    assert found.value == pytest.approx(wins.mean())
    # It leans a little on the variance that its form predicts.
    expected = on_logit(wins.mean(), math.sqrt(variance))
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=2e-5)


def test_the_variance_of_average_precision_is_that_of_repeated_draws():
    rng = np.random.default_rng(13)

    def draw():
        score = rng.beta(0.5, 4, 4000)
        return binary_metrics(BinaryEvidence.of(score, (rng.random(4000) < score).astype(np.int8)), 0.5)

    found = [draw()["average_precision"] for _ in range(300)]
    spread = np.std([e.value for e in found])
    assert np.mean([(e.high - e.value) / 1.96 for e in found]) == pytest.approx(spread, rel=0.15)


@given(st.floats(0.001, 0.999), st.integers(2, 10**6))
def test_wilsons_interval_is_where_the_truth_is_z_away(value, n):
    found = wilson(value, n)
    for end in found[1:]:
        assert abs(end - value) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-5)
    assert score_interval(value, lambda t: t * (1 - t) / n)[1:] == pytest.approx(found[1:], abs=1e-6)


@given(st.floats(0, 1e6), st.floats(0.1, 100))
def test_a_sum_of_equal_amounts_has_the_exact_poisson_interval(count, amount):
    count = round(count)
    found = summed(count * amount, count * amount**2, amount)
    assert found.high == pytest.approx(amount * chi2.ppf(0.975, 2 * count + 2) / 2)
    assert found.low == pytest.approx(amount * chi2.ppf(0.025, 2 * count) / 2 if count else 0.0)


@pytest.mark.parametrize("metric", ["auc", "average_precision", "log_loss", "brier", "f1", "cost", "recall"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(metric):
    rng = np.random.default_rng(11)

    def draw(n):
        score = rng.beta(0.5, 4, n)
        return BinaryEvidence.of(score, (rng.random(n) < score).astype(np.int8))

    truth = binary_metrics(draw(1_000_000), 0.25, (1.0, 5.0))[metric].value
    runs = 200
    hits = 0
    for _ in range(runs):
        found = binary_metrics(draw(1000), 0.25, (1.0, 5.0))[metric]
        hits += found.low <= truth <= found.high
    # 200 intervals of 95 %: 180 is three standard deviations short of it.
    assert hits >= 180


def test_intervals_cover_the_truth_also_where_positives_are_rare():
    rng = np.random.default_rng(14)

    def draw(n):
        score = rng.beta(0.02, 10, n)
        label = (rng.random(n) < score).astype(np.int8)
        e = BinaryEvidence.of(score, label, {"kpi": label * rng.gamma(4, 5, n)}, {"kpi": 0.01})
        return binary_metrics(e, 0.1, (1.0, 10.0), {"kpi": 0.01})

    truth = draw(2_000_000)
    # A window of 2000 events holds four positives or so.
    found = [draw(2000) for _ in range(200)]
    for metric in ("log_loss", "brier", "auc", "average_precision", "cost", "kpi"):
        held = [m[metric].low <= truth[metric].value <= m[metric].high for m in found if metric in m]
        assert len(held) > 150
        assert np.mean(held) >= 0.9, metric


def test_a_perfect_separation_of_few_is_not_called_certain():
    e = BinaryEvidence.of(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    auc = binary_metrics(e, 0.5)["auc"]
    assert auc.value == auc.high == 1.0
    assert auc.low < 0.5
    assert binary_metrics(e, 0.5)["average_precision"].low < 0.5


def test_labels_shuffled_against_scores_give_an_auc_of_one_half():
    rng = np.random.default_rng(4)
    score = rng.beta(1, 19, 50_000)
    label = rng.permutation((rng.random(50_000) < score).astype(np.int8))
    auc = binary_metrics(BinaryEvidence.of(score, label), 0.5)["auc"]
    assert abs(auc.value - 0.5) <= 4 * (auc.high - auc.low) / (2 * 1.96)


def test_the_auc_of_weights_agrees_with_that_of_examples():
    rng = np.random.default_rng(5)
    n0, n1 = rng.integers(1, 9, 20), rng.integers(1, 9, 20)
    score = np.repeat(np.tile(np.arange(20), 2), np.concatenate((n0, n1)))
    label = np.repeat([0, 1], [n0.sum(), n1.sum()])
    assert auc_of(n0, n1) == pytest.approx(sk.roc_auc_score(label, score))


def test_interval_forms_agree_with_their_known_values():
    assert proportion(0, 10)[:2] == (0.0, 0.0)
    assert proportion(10, 0)[2] == 1.0
    assert normal(1.0, 1.0, floor=0.0).low == 0.0
    assert on_logit(0.5, 1e-9).low == pytest.approx(0.5)


def test_kpis_stand_in_one_order_whenever_they_were_first_seen_and_after_a_restart():
    score, label = np.array([0.1, 0.6, 0.7, 0.9]), np.array([0, 1, 0, 1])
    column = np.array([1.0, 2.0, 3.0, 4.0])
    one = BinaryEvidence.of(score, label, {"b": column, "a": column})
    again = BinaryEvidence.restore(one.state())
    late = BinaryEvidence.of(score, label, {"b": column, "a": np.full(4, np.nan)}) + one
    orders = [list(binary_metrics(evidence, 0.5)) for evidence in (one, again, late)]
    assert orders[0][:2] == ["a", "b"]
    assert orders[0] == orders[1] == orders[2]

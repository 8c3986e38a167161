import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from streameval.evaluate.mixture import MixtureReference, label_free, maximum_likelihood, pacc
from streameval.evaluate.prevalence import DecayedPrevalence, posterior, prevalence, windowed
from streameval.evidence import BinaryEvidence, ScoreHistogram

bench = runpy.run_path(str(Path(__file__).with_name("bench_prevalence.py")))
sample = bench["sample"]


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_interval_is_that_of_jeffreys_posterior(positives, negatives):
    found = prevalence(positives, negatives)
    if positives + negatives == 0:
        assert found is None
        return
    assert found.value == pytest.approx(positives / (positives + negatives))
    low, high = beta.ppf((0.025, 0.975), positives + 0.5, negatives + 0.5)
    assert found.low == pytest.approx(low if positives else 0.0)
    assert found.high == pytest.approx(high if negatives else 1.0)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("n", [100, 500, 2000])
@pytest.mark.parametrize("share", [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.3])
def test_the_interval_holds_the_truth_also_where_positives_are_few(n, share):
    held = sum(binom.pmf(k, n, share) for k in range(n + 1) if (e := prevalence(k, n - k)).low <= share <= e.high)
    assert held > 0.88


def test_rivers_beta_updated_one_by_one_is_the_same_posterior():
    one_by_one = posterior(0, 0)
    for y in [True] * 3 + [False] * 7:
        one_by_one.update(y)
    assert one_by_one.cdf(0.4) == posterior(3, 7).cdf(0.4)


def labelled(y):
    return BinaryEvidence.of(np.full(len(y), 0.3), np.asarray(y, np.int8))


def test_a_window_says_the_share_in_it():
    assert windowed(labelled([1, 0, 0, 0])).value == 0.25
    assert windowed(BinaryEvidence.empty()) is None


def test_the_decayed_prevalence_follows_a_change_in_half_lives():
    p = DecayedPrevalence(half_life=1000)
    assert p.estimate() is None
    for i in range(40):
        p.learn_evidence(labelled(np.arange(500) % 10 == 0 if i < 20 else np.arange(500) % 5 == 0))
        if i == 21:
            assert p.estimate().value == pytest.approx(0.15, abs=0.001)
    found = p.estimate()
    assert found.value == pytest.approx(0.2, abs=0.001)
    # As many examples as faded weights are worth: some two half-lives over ln 2.
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / (2 * 1000 / np.log(2))), rel=0.15)


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=20), min_size=1, max_size=6), st.integers(0, 5))
def test_a_restored_decayed_prevalence_goes_on_bit_for_bit(batches, cut):
    one = DecayedPrevalence(half_life=7)
    for i, batch in enumerate(batches):
        if i == cut:
            two = DecayedPrevalence.restore(one.state())
            for rest in batches[i:]:
                two.learn_evidence(labelled(rest))
        one.learn_evidence(labelled(batch))
    if cut < len(batches):
        assert two.state() == one.state()


def test_errors_without_labels_are_those_of_the_methods_section_3():
    errors, covered = bench["rmse"](60, reference_events=300_000)
    for name, row in bench["METHODS"].items():
        for found, target in zip(errors[name], row, strict=True):
            assert found < 1.35 * target, name
    assert covered >= 0.88


def test_the_interval_counts_that_the_reference_is_an_estimate_too():
    rng = np.random.default_rng(2)
    histogram = ScoreHistogram.of(sample(rng, 300_000, 0.05)[0])
    hits = wide = 0
    for _ in range(60):
        found = MixtureReference(BinaryEvidence.of(*sample(rng, 20_000, 0.05))).prevalence(histogram)
        hits += found.low <= 0.05 <= found.high
        wide += (found.high - found.low) / 2 / 1.96 / 0.05
    assert hits >= 51
    assert wide / 60 == pytest.approx(0.050, rel=0.3)


def test_it_is_silent_below_250_positives_of_the_reference():
    rng = np.random.default_rng(3)
    histogram = ScoreHistogram.of(sample(rng, 5000, 0.05)[0])
    few = BinaryEvidence.of(*sample(rng, 4000, 0.05))
    many = BinaryEvidence.of(*sample(rng, 8000, 0.05))
    assert few.positives < 250 <= many.positives
    assert label_free(few, histogram) is None
    assert label_free(many, histogram) is not None
    assert label_free(many, ScoreHistogram.empty()) is None


def test_the_same_histograms_give_the_same_answer():
    rng = np.random.default_rng(4)
    reference = BinaryEvidence.of(*sample(rng, 20_000, 0.05))
    histogram = ScoreHistogram.of(sample(rng, 5000, 0.1)[0])
    assert label_free(reference, histogram) == MixtureReference(reference).prevalence(histogram)


def test_mixtures_at_the_ends_are_found_at_the_ends():
    f = np.array([[[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]])
    assert maximum_likelihood(f, 1e5 * f[0, 0])[0] == pytest.approx(0.0, abs=1e-6)
    assert maximum_likelihood(f, 1e5 * f[0, 1])[0] == pytest.approx(1.0, abs=1e-6)


@settings(max_examples=30)
@given(st.floats(0.01, 0.99), st.integers(0, 10**6))
def test_the_likelihood_is_highest_where_em_would_end(q, seed):
    rng = np.random.default_rng(seed)
    f = rng.dirichlet(np.ones(12), 2)[np.newaxis]
    n = rng.poisson(3000 * (q * f[0, 1] + (1 - q) * f[0, 0])).astype(float)
    found = maximum_likelihood(f, n)[0]
    grid = np.linspace(0, 1, 2001)
    with np.errstate(divide="ignore"):
        heights = np.log(grid[:, None] * f[0, 1] + (1 - grid[:, None]) * f[0, 0]) @ n
    assert found == pytest.approx(grid[np.argmax(heights)], abs=1e-3)


def test_the_cross_check_needs_two_classes_that_differ():
    rng = np.random.default_rng(5)
    reference = BinaryEvidence.of(*sample(rng, 20_000, 0.05))
    histogram = ScoreHistogram.of(sample(rng, 20_000, 0.1)[0])
    assert pacc(reference, histogram) == pytest.approx(0.1, abs=0.02)
    assert pacc(labelled([1, 1]), histogram) is None
    assert pacc(labelled([0, 1]), histogram) is None
    assert pacc(reference, ScoreHistogram.empty()) is None


def test_the_mixture_holds_under_label_shift_and_not_when_a_class_scores_otherwise():
    rng = np.random.default_rng(3)

    def evidence(n, prevalence, shift=0.0):
        label = (rng.random(n) < prevalence).astype(np.int8)
        score = 1.0 / (1.0 + np.exp(-(rng.normal(0.0, 1.0, n) + 2.0 * label + shift * label - 2.0)))
        return BinaryEvidence.of(score, label)

    mixture = MixtureReference(evidence(20_000, 0.1))
    assert mixture.holds(evidence(10_000, 0.1))
    assert mixture.holds(evidence(10_000, 0.3))
    assert not mixture.holds(evidence(10_000, 0.1, shift=-1.0))

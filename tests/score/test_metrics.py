"""Figures from histograms agree with scikit-learn, and the certified interval holds what scikit-learn finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Pool, best_f1, fpr95, iou
from scoring import curve_of
from sklearn.metrics import average_precision_score, roc_auc_score

from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.kernels.figures import precision_sum

BINS = 12
PIXELS = st.lists(st.tuples(st.floats(0, BINS, exclude_max=True), st.booleans()), min_size=2, max_size=120).filter(
    lambda pixels: len({anomalous for _, anomalous in pixels}) == 2
)
PURE = st.lists(st.booleans(), min_size=2, max_size=120).filter(lambda labels: len(set(labels)) == 2)


def pool(scores, anomalous):
    return Pool(np.array(scores, float), np.array(anomalous, bool), 1)


def curve(pool, bins):
    """The curve of a pool whose scores are counted in bins of width 1."""
    places = pool.scores.astype(int)
    return curve_of(np.array([np.bincount(places[pool.anomalous == label], minlength=bins) for label in (0, 1)]))


@settings(max_examples=100, deadline=None)
@given(PURE)
def test_one_pixel_in_each_bin_gives_what_scikit_learn_gives(anomalous):
    one = pool(np.arange(len(anomalous)), anomalous)
    found = curve(one, len(anomalous))
    figure, lower, upper = metrics.auprc(found)
    exact = average_precision_score(one.anomalous, one.scores)
    assert lower == pytest.approx(exact, abs=2e-9) and upper == pytest.approx(exact, abs=2e-9)
    assert lower <= exact <= upper
    assert figure == pytest.approx(exact, abs=1e-12)
    assert metrics.auroc(found) == pytest.approx(roc_auc_score(one.anomalous, one.scores), abs=1e-12)
    assert metrics.fpr_at_95_tpr(found, "first") == pytest.approx(fpr95(one, "first"), abs=1e-12)
    assert metrics.best_f1(found)[0] == pytest.approx(best_f1(one), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(PIXELS)
def test_one_score_in_each_bin_gives_what_scikit_learn_gives(pixels):
    """Where ties are real, those figures agree that a tie does not move; AuPRC lies in its interval."""
    tied = pool([int(score) for score, _ in pixels], [anomalous for _, anomalous in pixels])
    found = curve(tied, BINS)
    _, lower, upper = metrics.auprc(found)
    assert lower <= average_precision_score(tied.anomalous, tied.scores) <= upper
    assert metrics.auroc(found) == pytest.approx(roc_auc_score(tied.anomalous, tied.scores), abs=1e-12)
    f1, place = metrics.best_f1(found)
    assert f1 == pytest.approx(best_f1(tied), abs=1e-12)
    called = tied.scores >= place
    assert f1 == pytest.approx(2 * (called & tied.anomalous).sum() / (called.sum() + tied.anomalous.sum()))
    if 19 * tied.anomalous.sum() % 20:  # else np.interp takes the last of the points with exactly this TPR
        assert metrics.fpr_at_95_tpr(found, "linear") == pytest.approx(fpr95(tied, "linear"), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(PIXELS)
def test_whatever_happens_within_bins_lies_in_the_certified_interval(pixels):
    mixed = pool([score for score, _ in pixels], [anomalous for _, anomalous in pixels])
    figure, lower, upper = metrics.auprc(curve(mixed, BINS))
    assert 0 <= lower <= figure <= upper <= 1
    assert lower <= average_precision_score(mixed.anomalous, mixed.scores) <= upper


def test_the_certified_interval_is_no_wider_than_it_must_be():
    """Both ends are reached: by negatives first and positives apart, and by tied positives first."""
    place = np.repeat([2.0, 1.0, 0.0], 20)
    anomalous = np.tile(np.repeat([True, False], [8, 12]), 3)
    apart = np.linspace(0, 0.4, 20)
    _, lower, upper = metrics.auprc(curve(pool(place, anomalous), 3))
    worst = average_precision_score(anomalous, place + np.tile(apart, 3))
    best = average_precision_score(anomalous, place + 0.5 * anomalous)
    assert (lower, upper) == pytest.approx((worst, best), abs=3e-9)


def test_the_figure_takes_the_order_within_bins_as_random():
    noise = np.random.default_rng(0)
    place, anomalous = noise.integers(0, 6, 600).astype(float), noise.random(600) < noise.uniform(0, 0.6)
    orders = [average_precision_score(anomalous, place + noise.random(600)) for _ in range(300)]
    figure, *_ = metrics.auprc(curve(pool(place, anomalous), 6))
    assert figure == pytest.approx(np.mean(orders), abs=5 * np.std(orders) / 300**0.5 + 1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**10), st.integers(0, 10**10), st.integers(0, 10**10), st.integers(1, 300))
def test_counts_as_large_as_data_sets_keep_their_digits(TP, FP, n, p):
    """The bounds of one bin behind a large one, against sums over its single pixels."""
    j = np.arange(1, p + 1, dtype=np.longdouble)
    found = precision_sum(TP, TP + FP + n, 1.0, p)
    exact = float(((TP + j) / (np.longdouble(TP + FP + n) + j)).sum())
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("P", [20, 40, 1000, 19_999, 20_000, 183_220, 749_109])
def test_the_first_point_is_the_first_with_enough_positives(P):
    """One positive to a bin, each with one negative behind it: FP is TP - 1 where the 95th per cent is reached."""
    found = Curve(np.arange(2 * P), np.tile([1, 0], P), np.tile([0, 1], P))
    reached = int(np.flatnonzero(np.arange(1, P + 1) / P >= 0.95)[0]) + 1
    assert metrics.fpr_at_95_tpr(found, "first") == (reached - 1) / P


def test_linear_lies_between_two_points():
    found = Curve(np.arange(3), np.array([9, 1, 0]), np.array([1, 3, 6]))
    assert metrics.fpr_at_95_tpr(found, "linear") == pytest.approx(0.25)  # half of the way from 0.1 to 0.4
    assert metrics.fpr_at_95_tpr(found, "first") == pytest.approx(0.4)


@pytest.mark.parametrize("counts", [[[0, 0, 0], [1, 0, 2]], [[1, 4, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
def test_figures_that_do_not_exist_are_none(counts):
    found = curve_of(np.array(counts))
    assert metrics.auprc(found) is None and metrics.auroc(found) is None and metrics.best_f1(found) is None
    assert metrics.fpr_at_95_tpr(found, "first") is None and metrics.fpr_at_95_tpr(found, "linear") is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30), st.integers(-1, 7))
def test_iou_is_that_of_the_pixels(pixels, threshold):
    scored = pool([score for score, _ in pixels], [anomalous for _, anomalous in pixels])
    above = [int((scored.scores[scored.anomalous == label] >= threshold).sum()) for label in (0, 1)]
    totals = [int((scored.anomalous == label).sum()) for label in (0, 1)]
    assert metrics.iou(np.array(above), np.array(totals)) == pytest.approx(iou(scored, threshold))

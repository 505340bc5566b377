"""Figures from histograms agree with scikit-learn, and the resolution bounds hold what scikit-learn finds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Pool, best_f1, fpr95, iou
from scoring import curve_of
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.kernels.curves.figures import precision_sum

BINS = 12
PIXELS = st.lists(st.tuples(st.floats(0, BINS, exclude_max=True), st.booleans()), min_size=2, max_size=120).filter(
    lambda pixels: len({anomalous for _, anomalous in pixels}) == 2
)
PURE = st.lists(st.booleans(), min_size=2, max_size=120).filter(lambda labels: len(set(labels)) == 2)


def pool(scores, anomalous):
    return Pool(np.array(scores, float), np.array(anomalous, bool), 1)


def curve(pool, bins, tied=False):
    """The curve of a pool whose scores are counted in bins of width 1; `tied` says that each bin holds one score."""
    places = pool.scores.astype(int)
    found = curve_of(np.array([np.bincount(places[pool.anomalous == label], minlength=bins) for label in (0, 1)]))
    return replace(found, tied=np.full(found.bins.size, True)) if tied else found


RULES = ("first", "linear", "above")


def figures_of(found):
    """Every bounded figure of a curve by name."""
    rates = {f"fpr95 {rule}": metrics.fpr_at_95_tpr(found, rule) for rule in RULES}
    areas = {"auprc": metrics.auprc(found), "auroc": metrics.auroc(found)}
    areas["trapezoid"] = metrics.auprc(found, "trapezoid")
    return areas | rates | {"best_f1": metrics.best_f1(found).value}


def trapezoid(anomalous, scores):
    """The area under straight lines between the points of the precision-recall curve."""
    precision, recall, _ = precision_recall_curve(anomalous, scores)
    return auc(recall, precision)


def exact_figures(pixels):
    """The same figures by scikit-learn, from every single score."""
    rates = {f"fpr95 {rule}": fpr95(pixels, rule) for rule in RULES}
    areas = {"auprc": average_precision_score, "auroc": roc_auc_score, "trapezoid": trapezoid}
    exact = {name: area(pixels.anomalous, pixels.scores) for name, area in areas.items()}
    return exact | rates | {"best_f1": best_f1(pixels)}


@settings(max_examples=100, deadline=None)
@given(PURE)
def test_one_pixel_in_each_bin_leaves_nothing_open(anomalous):
    one = pool(np.arange(len(anomalous)), anomalous)
    exact = exact_figures(one)
    for name, (value, lower, upper) in figures_of(curve(one, len(anomalous))).items():
        assert (value, lower, upper) == pytest.approx((exact[name],) * 3, abs=2e-9), name
        assert lower <= exact[name] + 1e-15 and exact[name] <= upper + 1e-15


@settings(max_examples=60, deadline=None)
@given(PIXELS)
def test_a_bin_that_holds_one_score_is_a_tie_and_leaves_nothing_open(pixels):
    tied = pool([int(score) for score, _ in pixels], [anomalous for _, anomalous in pixels])
    exact = exact_figures(tied)
    for name, (value, lower, upper) in figures_of(curve(tied, BINS, tied=True)).items():
        assert (value, lower, upper) == pytest.approx((exact[name],) * 3, abs=2e-9), name


@settings(max_examples=60, deadline=None)
@given(PIXELS)
def test_whatever_happens_within_bins_lies_within_the_bounds(pixels):
    """Scores that tie, scores that do not: both are among the orders that a bin may have."""
    mixed = pool([score for score, _ in pixels], [anomalous for _, anomalous in pixels])
    for scores in (mixed.scores, np.floor(mixed.scores)):
        exact = exact_figures(replace(mixed, scores=scores))
        for name, (value, lower, upper) in figures_of(curve(mixed, BINS)).items():
            assert 0 <= lower <= value <= upper <= 1
            assert lower - 1e-12 <= exact[name] <= upper + 1e-12, name


@settings(max_examples=100, deadline=None)
@given(PIXELS)
def test_the_best_thresholds_give_the_best_figures(pixels):
    tied = pool([int(score) for score, _ in pixels], [anomalous for _, anomalous in pixels])
    found = curve(tied, BINS, tied=True)
    f1, least = metrics.best_f1(found)
    called = tied.scores >= least
    assert f1.value == pytest.approx(2 * (called & tied.anomalous).sum() / (called.sum() + tied.anomalous.sum()))
    best, at = metrics.best_mean_iou(found)
    means = [iou(tied, threshold)["mean"] for threshold in np.unique(tied.scores)]
    assert best == pytest.approx((max(means),) * 3) and iou(tied, at)["mean"] == pytest.approx(best.value)


def test_the_bounds_are_no_wider_than_they_must_be():
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
    found = Curve(np.arange(2 * P), np.tile([1, 0], P), np.tile([0, 1], P), np.ones(2 * P, bool), np.arange(2 * P))
    for rule, enough in (("first", np.arange(1, P + 1) / P >= 0.95), ("above", np.arange(1, P + 1) / P > 0.95)):
        reached = int(np.flatnonzero(enough)[0]) + 1
        assert metrics.fpr_at_95_tpr(found, rule) == ((reached - 1) / P,) * 3


def test_linear_lies_between_two_points():
    found = Curve(np.arange(3), np.array([9, 1, 0]), np.array([1, 3, 6]), np.zeros(3, bool), np.arange(3))
    assert metrics.fpr_at_95_tpr(found, "linear") == pytest.approx((0.25, 0.1, 0.4))  # half of the way
    assert metrics.fpr_at_95_tpr(found, "first") == pytest.approx((0.4, 0.1, 0.4))
    tied = replace(found, tied=np.ones(3, bool))
    assert metrics.fpr_at_95_tpr(tied, "first") == pytest.approx((0.4, 0.4, 0.4))


def test_a_map_that_says_nothing_calls_everything_anomalous():
    """One score for all, one pixel in ten anomalous: FPR95 is 1, AuPRC the share of anomalies."""
    constant = curve(pool(np.zeros(1000), np.arange(1000) % 10 == 0), 1, tied=True)
    assert metrics.fpr_at_95_tpr(constant, "first") == (1, 1, 1)
    assert metrics.auprc(constant).value == pytest.approx(0.1)


@pytest.mark.parametrize("counts", [[[0, 0, 0], [1, 0, 2]], [[1, 4, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
def test_figures_that_do_not_exist_are_none(counts):
    found = curve_of(np.array(counts))
    assert metrics.auprc(found) is None and metrics.auroc(found) is None and metrics.best_f1(found) is None
    assert all(metrics.fpr_at_95_tpr(found, rule) is None for rule in RULES) and metrics.best_mean_iou(found) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30), st.integers(-1, 7))
def test_iou_is_that_of_the_pixels(pixels, threshold):
    scored = pool([score for score, _ in pixels], [anomalous for _, anomalous in pixels])
    above = [int((scored.scores[scored.anomalous == label] >= threshold).sum()) for label in (0, 1)]
    totals = [int((scored.anomalous == label).sum()) for label in (0, 1)]
    assert metrics.iou(np.array(above), np.array(totals)) == pytest.approx(iou(scored, threshold))

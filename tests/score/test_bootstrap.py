"""Bootstrap over images, intervals, tests: against scipy, scikit-learn, and the plain way of counting."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmarks.coverage import bca
from logitpipe.stages.score.figures.bootstrap import (
    EXACT_IMAGES,
    bootstrap,
    choice,
    effective_images,
    holm,
    image_figures,
    intervals,
    resample,
    sign_flip,
)

BINS = 60


@pytest.fixture
def counts() -> np.ndarray:
    """Histograms (3 rows, 7 images, 2, bins) whose bins hold at most one pixel of all images."""
    noise = np.random.default_rng(1)
    found = np.zeros((3, 7, 2, 7 * BINS), np.int32)
    for row in range(3):
        for bin_, image in enumerate(noise.permutation(np.repeat(np.arange(7), BINS))):
            found[row, image, int(noise.random() < 0.3), bin_] = 1
    return found


def by_pixels(counts: np.ndarray) -> list[float]:
    """AuPRC, FPR95 and AUROC of a histogram (2, bins), by scikit-learn from single pixels."""
    falling = -np.arange(counts.shape[1], dtype=float)
    scores, labels = np.tile(falling, 2), np.repeat([0, 1], counts.shape[1])
    scores, labels = (np.repeat(array, counts.reshape(-1)) for array in (scores, labels))
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    first = fpr[np.argmax(tpr >= 0.95)]
    return [average_precision_score(labels, scores), first, roc_auc_score(labels, scores)]


@pytest.mark.slow
def test_figures_are_those_of_the_pixels(counts):
    found = image_figures(counts)
    for row, image in product(range(3), range(7)):
        assert found[row, image] == pytest.approx(by_pixels(counts[row, image]), abs=1e-12)
    pooled = bootstrap(counts, resamples=2).values
    assert pooled == pytest.approx(np.array([by_pixels(row.sum(axis=0)) for row in counts]), abs=1e-12)


def test_a_resample_is_the_images_that_were_drawn_in_every_row(counts):
    found = bootstrap(counts, resamples=5, seed=3)
    weights, _ = resample(np.ones((7, 2), bool), 5, 3)
    for row, b in product(range(3), range(5)):
        drawn = np.concatenate([np.repeat(counts[row, i][None], weights[b, i], axis=0) for i in range(7)])
        # Where an image is drawn twice, a bin holds two pixels of one class: no order is open.
        assert found.resampled[row, 0, b] == pytest.approx(by_pixels(drawn.sum(axis=0))[0], abs=0.05)
        assert found.resampled[row, 2, b] == pytest.approx(by_pixels(drawn.sum(axis=0))[2], abs=1e-12)
    for row, image in product(range(3), range(7)):
        others = np.delete(counts[row], image, axis=0).sum(axis=0)
        assert found.left_out[row, :, image] == pytest.approx(by_pixels(others), abs=1e-12)


def test_the_seed_decides_and_not_the_workers(counts):
    one, two, other = (bootstrap(counts, resamples=9, seed=s, workers=w) for s, w in ((0, 1), (0, 2), (1, 1)))
    np.testing.assert_array_equal(one.resampled, two.resampled)
    assert not np.array_equal(one.resampled, other.resampled)


def test_resamples_without_a_class_are_drawn_again_and_counted():
    present = np.array([[True, True], *[[True, False]] * 3])
    weights, redrawn = resample(present, 400, 0)
    assert (weights[:, 0] > 0).all() and (weights.sum(axis=1) == 4).all()
    # An image is not among four draws with probability (3/4)**4; each of those is drawn again.
    assert redrawn == pytest.approx(400 * 0.75**4 / (1 - 0.75**4), rel=0.2)
    assert resample(np.ones((4, 2), bool), 400, 0)[1] == 0
    with pytest.raises(ValueError, match="both needed"):
        resample(np.array([[True, False]]), 3, 0)


def test_the_interval_of_a_mean_is_that_of_scipy():
    """Of Student's t where all images weigh alike and move the mean alike; wider where few of them matter."""
    noise = np.random.default_rng(2)
    x = np.tile([0.3, 0.7], 10) + noise.normal(0, 1e-4, 20)
    left_out = np.array([np.delete(x, i).mean() for i in range(20)])
    weights = noise.multinomial(20, np.full(20, 1 / 20), 4000)
    moved = weights @ x / 20
    expected = stats.t.interval(0.95, 19, x.mean(), stats.sem(x))
    found = intervals(np.array(x.mean()), moved, left_out, 20)
    assert found == pytest.approx(expected, abs=0.03 * np.ptp(expected))
    by_scipy = stats.bootstrap((x,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert found[0] < by_scipy.low < by_scipy.high < found[1]
    few = intervals(np.array(x.mean()), moved, left_out, 4.0)
    assert np.ptp(few) / np.ptp(found) == pytest.approx(stats.t.ppf(0.975, 3) / stats.t.ppf(0.975, 19))
    one = x + np.where(np.arange(20) == 0, 5, 0)  # an image that moves the mean more than all others together
    alone = np.array([np.delete(one, i).mean() for i in range(20)])
    wide = intervals(np.array(one.mean()), weights @ one / 20, alone, 20)
    assert np.ptp(wide) > 1.5 * np.ptp(stats.t.interval(0.95, 19, one.mean(), stats.sem(one)))


def test_images_count_by_their_pixels():
    assert effective_images(np.array([[5, 1], [5, 1], [5, 1]])) == pytest.approx(3)
    assert effective_images(np.array([[5, 9], [5, 0], [5, 0]])) == pytest.approx(1)


def test_the_bca_interval_that_ours_are_compared_with_is_that_of_scipy():
    x = np.random.default_rng(0).exponential(size=(1, 23))
    known = stats.bootstrap((x[0],), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(1))
    left_out = np.array([[np.delete(x[0], i).mean() for i in range(23)]])
    found = bca(x.mean(axis=1), known.bootstrap_distribution[None], left_out, stats.norm.ppf(0.975))
    assert found[0] == pytest.approx(known.confidence_interval, abs=1e-12)


def test_intervals_hold_the_figure_and_are_wider_for_few_images(counts):
    found = bootstrap(counts, resamples=400)
    pairs = intervals(found.values, found.resampled, found.left_out, found.effective, scale="logit")
    assert pairs.shape == (3, 3, 2)
    assert (pairs[..., 0] < found.values).all() and (found.values < pairs[..., 1]).all()
    assert (pairs > 0).all() and (pairs < 1).all()
    plain = bca(found.values, found.resampled, found.left_out, 1.96)
    assert (np.diff(pairs) > np.diff(plain)).all()


def test_what_does_not_move_has_no_width_and_one_image_has_no_interval():
    same = np.full((1, 4), 0.5)
    for scale in ("plain", "logit"):
        assert intervals(np.array([0.5]), np.full((1, 50), 0.5), same, 4, scale=scale).tolist() == [[0.5, 0.5]]
        assert np.isnan(intervals(np.array([0.5]), np.full((1, 50), 0.5), same[:, :1], 1, scale=scale)).all()
    nought = intervals(np.array([0.0]), np.zeros((1, 50)), np.zeros((1, 4)), 4, scale="logit")
    assert nought.tolist() == [[0.0, pytest.approx(0, abs=1e-5)]]


def test_sign_flip_counts_all_signs_of_few_images():
    differences = np.random.default_rng(0).normal(0.4, 1, (3, 6))
    signs = np.array(list(product([-1, 1], repeat=6)))
    means = np.abs(signs @ differences.T / 6)
    expected = (means >= np.abs(differences.mean(axis=1)) - 1e-12).mean(axis=0)
    assert sign_flip(differences) == pytest.approx(expected)
    assert sign_flip(np.ones((1, 4))).tolist() == [2 / 16]
    assert sign_flip(np.zeros((1, 4))).tolist() == [1]


def test_sign_flip_draws_signs_of_many_images():
    differences = np.random.default_rng(0).normal(0.3, 1, (2, EXACT_IMAGES))
    exact = sign_flip(differences)
    drawn = sign_flip(np.concatenate([differences, np.zeros((2, 1))], axis=1))
    assert drawn == pytest.approx(exact, abs=0.015)
    np.testing.assert_array_equal(drawn, sign_flip(np.concatenate([differences, np.zeros((2, 1))], axis=1)))


def test_holm_corrects_for_the_number_of_tests():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]


def test_a_choice_among_noise_gains_nothing_after_correction():
    """Rows that differ by noise alone: the best of them looks better, and optimism says by how much."""
    noise = np.random.default_rng(0)
    gains, corrected = [], []
    for _ in range(200):
        images = noise.normal(0, 1, (8, 30))
        weights = noise.multinomial(30, np.full(30, 1 / 30), 300)
        found = choice(images.mean(axis=1), images @ weights.T / 30, 0)
        gains.append(found.gain)
        corrected.append(found.gain - found.optimism)
    assert np.mean(gains) > 0.2
    assert abs(np.mean(corrected)) < np.mean(gains) / 3


def test_a_choice_that_is_plain_is_not_corrected():
    values = [0.2, 0.8]
    found = choice(values, np.array([[0.21, 0.2, 0.19], [0.8, 0.8, 0.8]]), 0)
    assert (found.best, found.gain) == (1, pytest.approx(0.6))
    assert found.optimism == pytest.approx(0, abs=1e-12)

"""Smoothing of whole images, held against a plain reading of the recipe, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from logitpipe.stages.score.kernels.segments import half_of_segments as segments_kernel
from logitpipe.stages.score.methods.scales import EVEN_PROBABILITY, PROBABILITY_LEFT
from logitpipe.stages.score.methods.smoothing import boundaries, half_of_segments, smoothed, suppressed, widened

CROSS = ndimage.generate_binary_structure(2, 1)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 11))


def plain_boundaries(classes):
    """Dilation by a cross is not erosion by a square; what lies beyond the image does not count."""
    found = np.zeros(classes.shape, bool)
    for y, x in np.ndindex(classes.shape):
        square = classes[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        cross = [classes[v, x] for v in (y - 1, y, y + 1) if 0 <= v < classes.shape[0]]
        cross += [classes[y, u] for u in (x - 1, x + 1) if 0 <= u < classes.shape[1]]
        found[y, x] = max(cross) != square.min()
    return found


def plainly_suppressed(scores, classes):
    edges, (height, width) = plain_boundaries(classes), classes.shape
    for radius in (3, 2, 1, 0):
        inside = ndimage.binary_dilation(edges, CROSS, radius) if radius else edges
        new = scores.copy()
        for y, x in zip(*np.nonzero(inside), strict=True):
            near = [
                (min(max(v, 0), height - 1), min(max(u, 0), width - 1))
                for v in (y - 1, y, y + 1)
                for u in (x - 1, x, x + 1)
            ]
            if outside := [scores[at] for at in near if not inside[at]]:
                new[y, x] = np.mean(outside)
        scores = new
    return scores


@settings(max_examples=30, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99))
def test_boundary_suppression(size, seed):
    noise = np.random.default_rng(seed)
    classes, scores = noise.integers(0, 3, size) // 2 * 5, noise.normal(size=size)
    np.testing.assert_array_equal(boundaries(classes), plain_boundaries(classes))
    for radius in range(4):
        expected = ndimage.binary_dilation(classes > 0, CROSS, radius) if radius else classes > 0
        np.testing.assert_array_equal(widened(classes > 0, radius), expected)
    np.testing.assert_allclose(suppressed(scores, classes), plainly_suppressed(scores, classes), atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (5, 60), (41, 13)])
def test_the_dilated_gaussian(size):
    scores = np.random.default_rng(1).normal(size=size)
    kernel = np.zeros((37, 37))
    y, x = np.mgrid[-3:4, -3:4]
    kernel[::6, ::6] = np.exp(-(y**2 + x**2) / 2)
    expected = ndimage.correlate(scores, kernel / kernel.sum(), mode="nearest")
    np.testing.assert_allclose(smoothed(scores), expected, atol=1e-12)


def test_segments_share_half_of_their_score():
    scores, segments = np.array([[1.0, 3.0], [5.0, 0.0]]), np.array([[2, 2], [2, 7]])
    assert half_of_segments(scores, segments).tolist() == [[2.0, 3.0], [4.0, 0.0]]


@pytest.mark.parametrize("least", [1e-30, 1e-6, 0.1])
def test_the_kernel_of_segments_returns_the_ranks_of_the_plain_sums(least):
    noise, K = np.random.default_rng(2), 7
    scores = np.exp(noise.uniform(np.log(least), np.log(1 - 1 / K), 400))
    segments = noise.integers(0, 9, 400).astype(np.int16)
    ranks = PROBABILITY_LEFT.rank(scores, 1.0, K).astype(np.float32)
    found = segments_kernel(ranks, segments, 9, np.float32(np.log2(K - 1)))
    expected = half_of_segments(scores, segments)
    np.testing.assert_allclose(EVEN_PROBABILITY.formula(found, 1.0, K), expected, rtol=4e-6)

"""Bilinear resampling agrees with its reference, in whatever order its rows are asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import upsample
from scoring import compiled

from logitpipe.stages.score.kernels.resampling import largest_in_band, make_rows, sample_row
from logitpipe.stages.score.kinds.bands import Band, axes, sampled

compiled_row = compiled(sample_row)

SIDE = st.integers(1, 40)
SIZE = st.tuples(SIDE, SIDE)


def sample(planes, size, order=None):
    """Resample planes (P, h, w), the rows of the target in this order."""
    mapping = axes(planes.shape[1:], size)
    held, stretched = make_rows(len(planes), size[1])
    out = np.full((len(planes), size[0], stretched.shape[2]), np.nan, np.float32)
    for y in range(size[0]) if order is None else order:
        row = np.full((len(planes), stretched.shape[2]), np.nan, np.float32)
        compiled_row(planes, np.arange(len(planes)), y, mapping, held, stretched, row)
        out[:, y] = row
    return out[:, :, : size[1]]


@settings(max_examples=60, deadline=None)
@given(SIZE, SIZE, st.integers(0, 99), st.data())
def test_any_size_and_rows_in_any_order_agree_with_the_reference(source, target, seed, data):
    planes = np.random.default_rng(seed).normal(0, 5, (3, *source)).astype(np.float32)
    found = sample(planes, target)
    # Positions up to 40 carry a rounding error of 40 * 2**-24, which a step of up to 40 between neighbours scales.
    np.testing.assert_allclose(found, upsample(planes.astype(np.float64), target), rtol=0, atol=4e-4)
    assert np.array_equal(found, sample(planes, target, data.draw(st.permutations(range(target[0])))))


@pytest.mark.parametrize("size", [(7, 5), (14, 5), (7, 3), (30, 40)])
def test_extreme_values_of_one_size_stay_what_they_are(size):
    planes = np.full((2, 7, 5), 60000, np.float32)
    planes[1] *= -1
    found = sample(planes, size)
    assert (found[0] == 60000).all() and (found[1] == -60000).all()


def test_the_same_size_is_copied():
    planes = np.random.default_rng(0).normal(0, 5, (3, 6, 9)).astype(np.float32)
    assert np.array_equal(sample(planes, (6, 9)), planes)


def test_planes_may_be_chosen():
    planes = np.random.default_rng(0).normal(0, 5, (3, 6, 9)).astype(np.float32)
    held, stretched = make_rows(2, 7)
    row = np.empty(stretched.shape[1:], np.float32)
    compiled_row(planes, np.array([2, 0]), 5, axes((6, 9), (8, 7)), held, stretched, row)
    assert np.array_equal(row[:, :7], sample(planes[[2, 0]], (8, 7))[:, 5])


@settings(max_examples=30, deadline=None)
@given(SIZE, SIZE, st.integers(0, 99))
def test_the_largest_plane_is_that_of_the_weighted_samples(source, target, seed):
    """Few values and weights, so that many are equal: of these the first counts."""
    random = np.random.default_rng(seed)
    planes, weights = random.integers(-2, 3, (4, *source)).astype(np.float32), random.integers(1, 3, (3, 4))
    band, found = Band(planes, slice(0, target[0]), axes(source, target)), np.full((3, target[0] + 1, target[1]), -1)
    found = found.astype(np.int16)
    largest_in_band(planes, weights.astype(np.float32), band.axes, 1, found)
    values = sampled(band, range(4), band.rows)
    expected = [(of_plane.astype(np.float32)[:, None, None] * values).argmax(axis=0) for of_plane in weights]
    assert (found[:, 0] == -1).all() and np.array_equal(found[:, 1:], expected)

"""Bilinear resampling agrees with its reference wherever it starts and into whatever bands it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import upsample

from stages.score.kernels.resampling import sample_band
from stages.score.pixel import axes

SIDE = st.integers(1, 40)
SIZE = st.tuples(SIDE, SIDE)


def sample(planes, size, bands):
    """Resample planes (P, h, w) in bands that end before these rows."""
    rows, columns = axes(planes.shape[1:], size)
    held, stretched = np.full(2, -1), np.empty((2, len(planes), size[1]), np.float32)
    pieces = []
    for start, stop in zip([0, *bands], [*bands, size[0]], strict=True):
        out = np.full((len(planes), stop - start, size[1]), np.nan, np.float32)
        sample_band(planes, np.arange(len(planes)), start, stop, rows, columns, held, stretched, out)
        pieces.append(out)
    return np.concatenate(pieces, axis=1)


@settings(max_examples=60, deadline=None)
@given(SIZE, SIZE, st.integers(0, 99), st.data())
def test_any_size_in_any_bands_agrees_with_the_reference(source, target, seed, data):
    planes = np.random.default_rng(seed).normal(0, 5, (3, *source)).astype(np.float32)
    bands = sorted(data.draw(st.sets(st.integers(1, max(1, target[0] - 1)), max_size=4))) if target[0] > 1 else []
    found = sample(planes, target, bands)
    # Positions up to 40 carry a rounding error of 40 * 2**-24, which a step of up to 40 between neighbours scales.
    np.testing.assert_allclose(found, upsample(planes.astype(np.float64), target), rtol=0, atol=4e-4)
    assert np.array_equal(found, sample(planes, target, []))


@pytest.mark.parametrize("size", [(7, 5), (14, 5), (7, 3), (30, 40)])
def test_extreme_values_of_one_size_stay_what_they_are(size):
    planes = np.full((2, 7, 5), 60000, np.float32)
    planes[1] *= -1
    found = sample(planes, size, [])
    assert (found[0] == 60000).all() and (found[1] == -60000).all()


def test_the_same_size_is_copied():
    planes = np.random.default_rng(0).normal(0, 5, (3, 6, 9)).astype(np.float32)
    assert np.array_equal(sample(planes, (6, 9), [2, 3]), planes)


def test_planes_may_be_chosen():
    planes = np.random.default_rng(0).normal(0, 5, (3, 6, 9)).astype(np.float32)
    rows, columns = axes((6, 9), (8, 7))
    out = np.empty((2, 8, 7), np.float32)
    sample_band(planes, np.array([2, 0]), 0, 8, rows, columns, np.full(2, -1), np.empty((2, 2, 7), np.float32), out)
    assert np.array_equal(out, sample(planes[[2, 0]], (8, 7), []))

"""The elementary functions of the kernels keep the error bounds that they promise."""

import numpy as np
import pytest
from scoring import compiled

from logitpipe.stages.score.kernels.arithmetic import exp2, log1p, log2, patterns, widen, write_sigmoid
from logitpipe.stages.score.kinds.bands import axes, resampled

NOISE = np.random.default_rng(0)
SPREAD = np.exp2(NOISE.uniform(-125, 127, 5000)).astype(np.float32)
BESIDE_ONE = (1 + NOISE.choice([-1, 1], 5000) * np.exp2(NOISE.uniform(-23, -1, 5000))).astype(np.float32)


def apply(function, x):
    return np.array([function(value) for value in x], np.float64)


def worst(function, x, exact):
    return np.max(np.abs(apply(function, x) / exact(x.astype(np.float64)) - 1))


def test_exp2():
    x = NOISE.uniform(-125, 120, 20_000).astype(np.float32)
    assert worst(exp2, x, np.exp2) < 2e-7


def test_exp2_of_whole_numbers_is_exact():
    x = np.arange(-125, 121, dtype=np.float32)
    assert np.array_equal(apply(exp2, x), np.exp2(x.astype(np.float64)))


@pytest.mark.parametrize("x", [-125.5, -1e4, -3e38, -np.inf])
def test_exp2_far_below_is_next_to_nothing_and_never_garbage(x):
    assert 0 < exp2(np.float32(x)) <= 2.0**-125


@pytest.mark.parametrize("x", [SPREAD, BESIDE_ONE[BESIDE_ONE != 1]], ids=["everywhere", "beside 1"])
def test_log2(x):
    assert worst(log2, x, np.log2) < 3e-7


def test_log2_of_powers_of_two_is_exact():
    x = np.arange(-126, 128)
    assert np.array_equal(apply(log2, np.exp2(x).astype(np.float32)), x)


def test_log1p():
    assert worst(log1p, SPREAD[SPREAD < 1e9], np.log1p) < 1e-6
    assert log1p(np.float32(0)) == 0


def test_every_float16_is_widened_exactly():
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(2, 256, 128)
    out = resampled(patterns(values), axes((256, 128), (256, 128)))
    np.testing.assert_array_equal(out, values.astype(np.float32))
    assert np.array_equal(np.signbit(out), np.signbit(values))
    plain = np.empty(values.size, np.float32)
    widen(patterns(values).ravel(), plain)
    np.testing.assert_array_equal(plain, out.ravel())


def test_float32_is_copied():
    values = SPREAD.astype(np.float32).reshape(1, 50, 100)
    out = resampled(values, axes((50, 100), (50, 100)))
    assert np.array_equal(out, values) and not np.shares_memory(out, values)


def test_sigmoid():
    x = np.concatenate([-SPREAD[SPREAD < 85], SPREAD]).astype(np.float32)
    out = x.copy()
    assert compiled(write_sigmoid)(out) == 0
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(out, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-5)
    special = np.array([-60000, -90, 60000, np.nan, np.inf, -np.inf], np.float32)
    assert compiled(write_sigmoid)(special) == 3
    assert special[:3].tolist() == [0, 0, 1]

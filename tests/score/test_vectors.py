"""Vectors of the kernels do to every lane what NumPy does to every number."""

import numba
import numpy as np
import pytest

from logitpipe.stages.score.kernels.arithmetic import exp2, exp2_product, log2
from logitpipe.stages.score.kernels.vectors import (
    LANES,
    LINE,
    apart,
    as_float,
    as_int,
    fused,
    greater,
    lanes,
    lesser,
    load,
    shift_right,
    splat,
    store,
    to_float,
    where_greater,
)

NOISE = np.random.default_rng(0)
A, B = (NOISE.normal(0, 3, LANES).astype(np.float32) for _ in range(2))
TWO, HALF = np.float32(2), np.float32(0.5)
CASES = {
    "sum": (lambda a, b: a + b, lambda a, b: a + b),
    "difference": (lambda a, b: a - b, lambda a, b: a - b),
    "product": (lambda a, b: a * b, lambda a, b: a * b),
    "quotient": (lambda a, b: a / b, lambda a, b: a / b),
    "with numbers": (lambda a, b: TWO * a - HALF + b / TWO, lambda a, b: 2 * a - 0.5 + b / 2),
    "greater": (lambda a, b: greater(a, b), np.maximum),
    "lesser": (lambda a, b: lesser(a, b), np.minimum),
    "where greater": (lambda a, b: where_greater(a, b, b, TWO), lambda a, b: np.where(a > b, b, 2)),
    "within": (lambda a, b: a + lesser(greater(b, -TWO), TWO), lambda a, b: a + np.clip(b, -2, 2)),
    "fused": (lambda a, b: fused(a, b, a), lambda a, b: a * b + a),
    "fused with numbers": (lambda a, b: a + fused(TWO, b, HALF), lambda a, b: a + 2 * b + 0.5),
    "bits": (lambda a, b: b + as_float(as_int(a) + (splat(np.int32(1)) << np.int32(23))), lambda a, b: b + 2 * a),
    "integers": (lambda a, b: b + to_float(shift_right(as_int(a), 23)), lambda a, b: b + exponents(a)),
    "exponential": (lambda a, b: exp2_product(a, b), lambda a, b: np.exp2(a * b)),
    "exponential within": (lambda a, b: exp2(a - b * b), lambda a, b: np.exp2(a - b * b)),
    "logarithm": (lambda a, b: log2(a * a + b * b), lambda a, b: np.log2(a * a + b * b)),
}


def exponents(a):
    """Return sign and exponent of float32 as the integers that they are."""
    return a.astype(np.float32).view(np.int32) >> 23


@pytest.mark.parametrize("case", CASES)
def test_each_lane_is_computed_as_a_number_is(case):
    of_vectors, exact = CASES[case][0], CASES[case][1]
    operation = numba.njit(of_vectors)
    found = numba.njit(lambda a, b: lanes(operation(load(a, 0), load(b, 0))))(A, B)
    np.testing.assert_allclose(found, exact(A.astype(np.float64), B.astype(np.float64)), rtol=1e-6, atol=1e-6)


def test_numbers_are_computed_as_vectors_are():
    """What is written once for both gives the same bits for both."""
    one = numba.njit(lambda a, b: log2(exp2_product(a, b)))
    many = numba.njit(lambda a, b: lanes(log2(exp2_product(load(a, 0), b))))
    assert [one(a, B[0]) for a in A] == many(A, B[0]).tolist()


@pytest.mark.parametrize("count", [1, 15, 16, 17, 1024, 1040, 2048])
def test_planes_are_an_odd_number_of_cache_lines_apart(count):
    length = apart(count)
    assert count <= length < count + 2 * LINE
    assert (length % LINE, length // LINE % 2, length % LANES) == (0, 1, 0)


@pytest.mark.parametrize("start", [0, 1, 5])
def test_vectors_are_read_and_written_where_they_begin(start):
    source, target = np.arange(3 * LANES, dtype=np.float32).reshape(2, -1), np.zeros((3, LANES), np.float32)
    numba.njit(lambda a, b, i: store(b, i, load(a, 2 * i)))(source, target, start)
    expected = np.zeros(3 * LANES)
    expected[start : start + LANES] = np.arange(2 * start, 2 * start + LANES)
    assert target.ravel().tolist() == expected.tolist()

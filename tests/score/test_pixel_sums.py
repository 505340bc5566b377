"""Sums of exponentials that temperatures share: each is that of its own temperature, whatever else is computed."""

from itertools import product

import numpy as np
import pytest
from scoring import compiled

from logitpipe.stages.score.kernels.fused.pixel_rows import MEMBERS, make_row, prepare
from logitpipe.stages.score.kernels.fused.pixel_sums import families, sum_exponentials
from logitpipe.stages.score.kernels.vectors import LANES

LN2 = np.log(2)
_prepare, _sum = compiled(prepare), compiled(sum_exponentials)
CLASSES, WIDTH = 7, 4 * LANES


@pytest.mark.parametrize("spread", [0.0, 1.0, 40.0, 400.0])
def test_the_sums_of_a_family_are_those_of_its_temperatures(spread):
    z = np.random.default_rng(0).normal(0, spread, (CLASSES, WIDTH)).astype(np.float32)
    row = make_row(CLASSES, CLASSES, WIDTH)
    n, lowest = _prepare(z, np.arange(0, WIDTH, LANES), row)
    below = np.sort(z.astype(np.float64), axis=0)[:-1] - np.sort(z, axis=0)[-2]
    assert n == WIDTH
    for base in (0.04, 2.0, 3.9, 50.0):
        _sum(row, n, lowest, np.float32(base), (True,) * MEMBERS, True)
        together = row.others.copy(), row.moments.copy()
        for k in range(MEMBERS):
            e = np.exp(below / (np.float32(base) / 2**k))
            np.testing.assert_allclose(row.others[k, :n], e.sum(axis=0), rtol=1e-6)
            # What vanishes beside the second largest logit may be taken as 2**-31 of it.
            np.testing.assert_allclose(row.moments[k, :n], (below / LN2 * e).sum(axis=0), rtol=2e-6, atol=base * 1e-7)
        for asked, with_moments in product(product([True, False], repeat=MEMBERS), [True, False]):
            _sum(row, n, lowest, np.float32(base), asked, with_moments)
            for k in np.flatnonzero(asked):
                assert np.array_equal(row.others[k, :n], together[0][k, :n])
                assert not with_moments or np.array_equal(row.moments[k, :n], together[1][k, :n])


@pytest.mark.parametrize("distance", [15.0, 30.0])
def test_many_classes_alike_are_not_each_rounded_beside_the_second_largest(distance):
    """Rounded one by one beside 1, 148 alike would all err in the same direction: by 8.5e-6 together."""
    classes, base = 150, 2.0
    z = np.full((classes, LANES), -distance, np.float32)
    z[-2:] = [[1.0], [0.0]]
    z[:-2] -= np.linspace(0, 0.5, LANES, dtype=np.float32)
    row = make_row(classes, classes, LANES)
    n, lowest = _prepare(z, np.array([0]), row)
    _sum(row, n, lowest, np.float32(base), (True,) * MEMBERS, True)
    for k in range(MEMBERS):
        expected = 1 + np.exp(z[:-2].astype(np.float64) / (base / 2**k)).sum(axis=0)
        np.testing.assert_allclose(row.others[k, :n], expected, rtol=1e-6)


def test_temperatures_share_a_base_that_depends_on_each_alone():
    asked = np.array([0.5, 1.0, 1.3, 2.0, 0.65, 5.0, 0.1, 2.0], np.float32)
    shared = families(asked)
    assert dict(zip(shared.bases.tolist(), shared.members.tolist(), strict=False)) == {
        2.0: [7, -1, -1],  # the second 2.0; the first family of that base is looked at below
        float(asked[2] * 2): [-1, 2, 4],
        5.0: [5, -1, -1],
        float(asked[6] * 4): [-1, -1, 6],
    }
    assert shared.members[0].tolist() == [3, 1, 0]
    for T in asked:
        (base,), (members,) = families(np.array([T]))
        assert base in shared.bases
        assert base / 2 ** members.tolist().index(0) == T

"""Bins keep the order of the scores, begin where they say, and lose nothing."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scoring import compiled, no_counts, whole

from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED, NORMAL, Bins, count, count_above
from logitpipe.stages.score.kernels.counting.bins import place as place_kernel
from logitpipe.stages.score.kernels.counting.counts import Counts, add_counts, filled
from logitpipe.stages.score.kernels.counting.counts import add as add_kernel
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.plan import UNIT_BINS

place, add = compiled(place_kernel), compiled(add_kernel)

SMALL_BINS = Bins(3, negative=(-4, 5), positive=(-4, 2))
ALL_BINS = {SMALL_BINS, UNIT_BINS} | {method.scale.bins for kind in METHODS.values() for method in kind.values()}
EVERY = pytest.mark.parametrize(
    "bins", sorted(ALL_BINS, key=repr), ids=lambda bins: f"{bins.negative}{bins.positive}"
)
FLOATS = st.integers(0, 2**32 - 1).map(lambda bits: np.uint32(bits).view(np.float32)).filter(np.isfinite)
NEAR = st.floats(-64, 64, width=32).map(np.float32)


def places(bins, scores, labels=None):
    """The places that scores are counted in, and the counts."""
    scores = np.array(scores, np.float32)
    labels = np.full(len(scores), NORMAL, np.uint8) if labels is None else np.array(labels, np.uint8)
    found, counts = np.empty(len(scores), np.uint32), no_counts(2 * bins.count + 1)
    place(scores, labels, bins.layout, found)
    count(scores, labels, bins.layout, counts)
    return found.astype(np.int64), whole(counts)


@EVERY
@settings(max_examples=50, deadline=None)
@given(scores=st.lists(FLOATS | NEAR, min_size=2, max_size=30))
@example(scores=[np.float32(0.0), np.float32(-0.0), np.float32(3e38), np.float32(-3e38), np.float32(1e-45)])
def test_order_is_kept_and_every_bin_has_a_place(bins, scores):
    found, _ = places(bins, np.sort(scores))
    assert (np.diff(found) >= 0).all()
    assert found[0] >= 0 and found[-1] < bins.count


@EVERY
def test_a_lower_edge_is_the_least_float_of_its_bin(bins):
    noise = np.random.default_rng(0)
    ends = [0, 1, 2, bins.count - 2, bins.count - 1]
    zero = int(bins.layout[3]) + np.arange(-2, 3)
    some = np.unique(np.clip([*ends, *zero, *noise.integers(0, bins.count, 500)], 1, bins.count - 1))
    edges = bins.lower_edges(some)
    assert np.array_equal(places(bins, edges)[0], some)
    assert np.array_equal(places(bins, np.nextafter(edges, np.float32(-np.inf)))[0], some - 1)
    assert bins.lower_edges(np.array([0])) == -np.inf


def test_bins_are_as_wide_as_they_promise():
    edges = SMALL_BINS.lower_edges(np.arange(SMALL_BINS.count))[1:]
    assert SMALL_BINS.count == 9 * 8 + 1 + 6 * 8
    positive = edges[edges > 0]
    assert np.array_equal(positive[:9], np.linspace(2**-4, 2**-3, 9))
    assert positive[-1] == 4 - 2 / 8
    np.testing.assert_allclose(edges[0], -(32 - 2), rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(FLOATS | NEAR, st.sampled_from([NORMAL, ANOMALY, IGNORED])), max_size=50))
def test_counts_are_those_of_the_labels(pixels):
    scores, labels = [score for score, _ in pixels], [label for _, label in pixels]
    found, counts = places(SMALL_BINS, scores, labels)
    n = SMALL_BINS.count
    assert counts[: 2 * n].reshape(2, n).sum(axis=1).tolist() == [labels.count(NORMAL), labels.count(ANOMALY)]
    odd = len(labels) % 2  # pixels are counted in twos, the last one beside one that is ignored
    assert counts[-1] == labels.count(IGNORED) + odd
    assert np.array_equal(np.bincount([*found, *[2 * n] * odd], minlength=2 * n + 1), counts)


REPEATED = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 700)), max_size=20)
"""Places, and how often each is counted: below, at and beyond what a byte holds."""


def counted(repeated):
    """A histogram, and what it must hold."""
    places = np.repeat([place for place, _ in repeated], [times for _, times in repeated]).astype(np.uint32)
    places = np.append(places, np.full(len(places) % 2, 7, np.uint32))  # an even number
    counts = no_counts(8)
    add(np.random.default_rng(0).permutation(places), *counts)
    return Counts(*(part[:7] for part in counts)), np.bincount(places, minlength=8)[:7]


@settings(max_examples=50, deadline=None)
@given(REPEATED, REPEATED)
@example([(0, 255), (1, 256), (2, 257), (3, 383), (4, 384), (5, 385)], [(0, 1), (1, 256), (2, 255), (3, 1)])
def test_nothing_is_lost_beyond_a_byte_and_in_sums(some, more):
    (a, held), (b, _) = counted(some), counted(more)
    assert np.array_equal(whole(a), held)
    assert np.array_equal(a.low > 0, held > 0)
    add_counts(a, b)
    both, total = counted([*some, *more])
    assert np.array_equal(whole(a), total)
    assert np.array_equal(a.low, both.low) and np.array_equal(a.carries, both.carries)


@settings(max_examples=50, deadline=None)
@given(REPEATED)
def test_filled_bins_are_found_by_falling_score(repeated):
    counts, held = counted(repeated)
    found, anomalous, normal = filled(counts, 3)
    assert found.tolist() == [i for i in (2, 1, 0) if held[i] or held[3 + i]]
    assert anomalous.tolist() == held[3:6][found].tolist() and normal.tolist() == held[:3][found].tolist()


def test_filled_bins_are_found_wherever_they_lie():
    bins = 1000
    for at in (0, 255, 256, 511, 512, 999, 1000, 1999):
        counts = no_counts(2 * bins + 1)
        counts.low[at] = 1
        assert [part.tolist() for part in filled(counts, bins)] == [[at % bins], [at // bins], [1 - at // bins]]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(NEAR, st.sampled_from([NORMAL, ANOMALY, IGNORED])), max_size=50),
    st.lists(NEAR | st.sampled_from([np.float32(-np.inf), np.float32(np.inf)]), max_size=4),
)
def test_thresholds_are_exact(pixels, thresholds):
    thresholds = [*thresholds, *(score for score, _ in pixels[:3])]
    scores, labels = np.array([p[0] for p in pixels], np.float32), np.array([p[1] for p in pixels], np.uint8)
    above = np.zeros((len(thresholds), 2), np.int64)
    count_above(scores, labels, np.array(thresholds, np.float32), above)
    expected = [[((scores >= t) & (labels == label)).sum() for label in (NORMAL, ANOMALY)] for t in thresholds]
    assert above.tolist() == np.reshape(expected, (-1, 2)).tolist()

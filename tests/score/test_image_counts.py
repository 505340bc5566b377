"""Histograms of single images: small, summing to the pooled figures, whatever the workers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import curve_of, no_counts, whole
from stores import fill as fill_store
from stores import make_schema

from logitpipe.cache import open_store
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.image_counts import BINS, MOST_JOINED, Joined, image_counts
from logitpipe.stages.score.kernels.counting.counts import drain, fill
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS


def noise_histograms(images: int, bins: int, seed: int = 0) -> list[np.ndarray]:
    """Fine histograms (2, bins) of so many images, anomalous pixels higher than normal ones."""
    noise = np.random.default_rng(seed)
    places = [(noise.normal(0.35, 0.1, 4000), noise.normal(0.45, 0.1, 300)) for _ in range(images)]
    return [
        np.array([np.bincount((np.clip(s, 0, 0.999) * bins).astype(int), minlength=bins) for s in classes])
        for classes in places
    ]


def pooled_figures(counts: np.ndarray) -> list[float]:
    """AuPRC and FPR95 of histograms (..., 2, bins) by rising score."""
    found = curve_of(counts)
    return [metrics.auprc(found).value, metrics.fpr_at_95_tpr(found, "first").value]


def join(histogram: np.ndarray) -> Joined:
    """Drain a fine histogram (2, bins) twice into a total, which then holds twice its counts."""
    bins = histogram.shape[1]
    own, total, flat = no_counts(2 * bins + 1), no_counts(2 * bins + 1), histogram.reshape(-1)
    for _ in range(2):
        fill(own, np.flatnonzero(flat), flat[flat > 0].astype(np.int64))
        joined = Joined(*drain(own, total, bins, bins // 2, MOST_JOINED))
        assert not own.low.any() and not own.carries.any()
    assert np.array_equal(whole(total)[:-1], 2 * flat)
    return joined


@pytest.mark.parametrize("bins", [500, 40_000, 700_000])
def test_pooled_figures_stay_and_no_pixel_is_lost(bins):
    fine = noise_histograms(12, bins)
    joined = [join(each) for each in fine]
    assert all(each.bins.size <= MOST_JOINED for each in joined)
    counts = image_counts(joined)
    assert counts.shape == (12, 2, BINS) and counts.dtype == np.int32
    assert counts.sum(axis=-1).tolist() == [each.sum(axis=-1).tolist() for each in fine]
    coarse = counts.sum(axis=0)[:, ::-1]
    assert pooled_figures(coarse) == pytest.approx(pooled_figures(np.sum(fine, axis=0)), abs=2e-4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 700), st.integers(0, 700)), min_size=1, max_size=40))
def test_few_bins_are_kept_as_they_are(filled):
    fine = np.zeros((2, 61), np.int64)
    for place, normal, anomalous in filled:
        fine[:, place] += (normal, anomalous)
    if fine.any():
        counts = image_counts([join(fine)])[0]
        expected = fine[:, fine.any(axis=0)][:, ::-1]
        assert np.array_equal(counts[:, : expected.shape[1]], expected) and not counts[:, expected.shape[1] :].any()


@pytest.mark.parametrize("kind", METHODS)
def test_they_come_with_a_sweep_and_change_nothing_of_it(tmp_path, kind):
    store = open_store(fill_store(tmp_path / "store", make_schema(kind)))
    plan = make_plan(store.schema, PROTOCOLS["legacy"], None, [0.5, 2.0])
    plain = [each.row for each in sweep(store, plan, range(3), 1, lambda: None)]
    one, three = (sweep(store, plan, range(3), n, lambda: None, per_image=True) for n in (1, 3))
    assert [each.row for each in one] == plain == [each.row for each in three]
    for each, other in zip(one, three, strict=True):
        assert each.images.indices == (0, 1, 2)
        assert np.array_equal(each.images.counts, other.images.counts)
        P = each.images.counts[:, 1].sum()
        assert (each.images.counts.sum(), P) == (each.row.pixels, each.row.positives)

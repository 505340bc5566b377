"""Component figures: the kernels and sums against a plain reading of the definition, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import Scene
from scipy import ndimage
from scoring import plan_for, random_values, write_store

from logitpipe.stages.score.figures.components import (
    ANOMALY_TRACK,
    OBSTACLE_TRACK,
    SIOU,
    Sizes,
    match,
    sizes_of,
)
from logitpipe.stages.score.kernels.counting.components import components_above, number_components
from logitpipe.stages.score.kernels.counting.halves import count_halves, half_values
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.components import component_rows
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.components import Components
from logitpipe.stages.score.statistics.percentile_curve import (
    QUANTILES,
    PercentileCurve,
    best_threshold,
    between_quantiles,
)
from logitpipe.stages.score.thresholds import limit_above, limit_from

NEIGHBOURS = np.ones((3, 3))
NORMAL, ANOMALY, VOID = 0, 1, 2
SIZES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
LABELS = SIZES.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 2)))


def plainly(above: np.ndarray, labels: np.ndarray, sizes: Sizes) -> tuple[list[float], list[float]]:
    """The sIoU of each component of the ground truth and the PPV of each predicted one, from the definition."""
    predicted, count = ndimage.label(above & (labels != VOID), NEIGHBOURS)
    truth, truths = ndimage.label(labels == ANOMALY, NEIGHBOURS)
    void = labels == VOID
    for j in range(1, count + 1):
        if not sizes.predicted[0] <= (predicted == j).sum() < sizes.predicted[1]:
            predicted[predicted == j] = 0
    for i in range(1, truths + 1):
        if not sizes.truth[0] <= (truth == i).sum() < sizes.truth[1]:
            void |= truth == i
    predicted, truth = predicted[~void], truth[~void]
    siou = []
    for i in np.unique(truth[truth > 0]):
        touching = np.isin(predicted, np.setdiff1d(predicted[truth == i], 0))
        hit = (touching & (truth == i)).sum()
        elsewhere = (touching & (truth != 0) & (truth != i)).sum()
        siou.append(hit / (touching.sum() + (truth == i).sum() - hit - elsewhere))
    ppv = [(truth[predicted == j] > 0).mean() for j in np.unique(predicted[predicted > 0])]
    return siou, ppv


@settings(deadline=None)  # the first call compiles
@given(LABELS, st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 6)] * 4))
def test_as_defined(labels, seed, limits):
    """Any shape of components, any limits of size on both sides."""
    sizes = Sizes((limits[0], limits[0] + 3 * limits[1]), (limits[2], limits[2] + 3 * limits[3]))
    scores = np.random.default_rng(seed).normal(size=labels.shape).astype(np.float32)
    truth, truth_sizes = number_components(labels, ANOMALY, VOID)
    predicted, pieces = components_above(scores, np.float32(0), truth, sizes.predicted[0])
    found = match(sizes, predicted, truth_sizes, pieces)
    siou, ppv = plainly(scores > 0, labels, sizes)
    assert found.siou.tolist() == pytest.approx(siou)
    assert sorted(found.ppv) == pytest.approx(sorted(ppv))


@settings(deadline=None)  # the first call compiles
@given(SIZES.flatmap(lambda shape: hnp.arrays(bool, shape)))
def test_the_components_are_those_of_scipy(inside):
    truth, sizes = number_components(inside.astype(np.uint8), 1, 2)
    expected, count = ndimage.label(inside, NEIGHBOURS)
    np.testing.assert_array_equal(truth, expected)
    assert sizes.tolist() == np.bincount(expected.reshape(-1), minlength=count + 1)[1:].tolist()


def test_a_spiral_is_one_component():
    """Its arms meet late: what looks like several runs of their own is joined at the end."""
    inside = np.zeros((41, 41), bool)
    for ring in range(0, 20, 2):
        inside[ring, ring : -ring or None] = inside[-ring - 1, ring : -ring or None] = True
        inside[ring : -ring or None, ring] = inside[ring : -ring or None, -ring - 1] = True
        inside[ring + 1, ring] = False
        inside[ring + 2, ring + 1] = True
    truth, sizes = number_components(inside.astype(np.uint8), 1, 2)
    np.testing.assert_array_equal(truth, ndimage.label(inside, NEIGHBOURS)[0])
    assert sizes.sum() == inside.sum()


def test_sizes_of_the_tracks():
    assert sizes_of("RoadAnomaly21") == sizes_of("fs_static") == ANOMALY_TRACK == Sizes.from_least(500, 100)
    assert sizes_of("RoadObsticle21") == OBSTACLE_TRACK == Sizes.from_least(50, 10)
    assert sizes_of("dataset_ObstacleTrack") == sizes_of("RoadObstacle21") == OBSTACLE_TRACK


def test_thresholds_have_the_digits_of_the_official_tool():
    assert len(SIOU) == 11
    assert (SIOU[0], SIOU[7], SIOU[-1]) == (0.25, 0.6000000000000001, 0.75)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Six images with an object each, which the logits show dimly."""
    noise, scenes = np.random.default_rng(0), []
    for i in range(6):
        codes = np.zeros((40, 60), np.uint8)
        codes[5 + i : 20 + i, 10:30] = 1
        codes[25:, 40 + i :] = 255
        values = random_values(noise, "pixel", 4, (40, 60))
        values["logits"][:, codes == 1] *= 0.3
        scenes.append(Scene(f"{i}.png", values, codes))
    return write_store(tmp_path_factory.mktemp("components") / "store", scenes)


def plan_of(store):
    return make_plan(store.schema, PROTOCOLS["standard"], None, (0.5, 1.0))


SMALL = (Sizes.from_least(6, 3), Sizes((1, 30), (1, 400)))


def totals(store, plan, workers):
    limits = np.array([[limit_above(plan, i, t) for t in (0.05, 0.3)] for i in range(len(plan.pairs))])
    statistic = Components(plan, limits, SMALL)
    truth = GroundTruth(store, plan.protocol, store.completed())
    return statistic, walk(truth, store.completed(), statistic, workers, lambda: None)


def test_any_number_of_workers_gives_the_same_counts(store):
    plan = plan_of(store)
    (statistic, one), (_, three) = (totals(store, plan, workers) for workers in (1, 3))
    np.testing.assert_array_equal(one.counts, three.counts)
    assert one.images == three.images == 6
    assert one.counts[..., 1].any()
    again = statistic.from_arrays(one.to_arrays())
    np.testing.assert_array_equal(again.counts, one.counts)
    with pytest.raises(ValueError, match="counts of"):
        statistic.from_arrays({"counts": one.counts[:1], "images": np.array(6)})


def test_figures_of_a_store(store):
    """All images together: means over components, F1 from all counts."""
    plan = plan_of(store)
    statistic, total = totals(store, plan, 2)
    pair = 1
    for k, threshold in enumerate((0.05, 0.3)):
        for sizes, got in zip(SMALL, statistic.finish(total)[pair][k], strict=True):
            siou, ppv = [], []
            for image in store.completed():
                picture = read_picture(store, GroundTruth(store, plan.protocol, [0]), image)
                above = picture.formula_map(plan, pair).astype(np.float32) > threshold
                parts = plainly(above, picture.labels, sizes)
                siou += parts[0]
                ppv += parts[1]
            assert (got.components_truth, got.components_predicted) == (len(siou), len(ppv))
            assert got.siou == pytest.approx(np.mean(siou), abs=1e-9)
            assert got.ppv == pytest.approx(np.mean(ppv), abs=1e-9)
            tp, fp = [(np.array(siou) >= t).sum() for t in SIOU], [(np.array(ppv) < t).sum() for t in SIOU]
            assert (got.tp, got.fp) == (tuple(tp), tuple(fp))
            assert got.fn == tuple(len(siou) - hit for hit in tp)
            f1 = [2 * hit / (hit + len(siou) + false) for hit, false in zip(tp, fp, strict=True)]
            assert got.f1_at == pytest.approx(f1)
            assert got.f1 == pytest.approx(np.mean(f1))


def test_rows(store):
    plan = plan_of(store)
    rows = [scored.row for scored in sweep(store, plan, store.completed(), 1, lambda: None)]
    readings = []
    found = component_rows(store, plan, store.completed(), rows, 2, lambda: readings.append(1))
    assert len(readings) == 2 * 6
    of_msp = [row for row in found if (row.method, row.temperature) == ("msp", 0.5)]
    assert [(row.rule, row.sizes) for row in of_msp] == [
        ("best-f1", "all"),
        *(("best-f1", name) for name in ("too small", "small", "large", "very large")),
        ("official", "all"),
    ]
    assert of_msp[0].threshold == rows[0].best_f1_threshold
    assert len(found) == 6 * len(plan.pairs)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_limits_compare_as_rounded_scores_do(store, dtype):
    """Also where the threshold is itself a score."""
    plan = plan_of(store)
    picture = read_picture(store, GroundTruth(store, plan.protocol, [0]), 0)
    for pair, ranks in picture.score_maps(plan, range(len(plan.pairs))):
        scores = plan.formula(plan.pairs[pair], ranks).astype(dtype)
        for threshold in (float(scores[3, 4]), float(scores[0, 0]), float(scores.min()), float(scores.max())):
            above = ranks > limit_above(plan, pair, threshold, dtype)
            np.testing.assert_array_equal(above, scores > dtype(threshold))


def test_limits_from_the_sweep(store):
    """The best threshold of the sweep is the lower edge of a bin, which belongs to it."""
    plan = plan_of(store)
    picture = read_picture(store, GroundTruth(store, plan.protocol, [0]), 0)
    for pair, ranks in picture.score_maps(plan, range(len(plan.pairs))):
        edges = plan.bins(plan.pairs[pair]).lower_edges(np.arange(plan.bins(plan.pairs[pair]).count))
        edge = edges[np.searchsorted(edges, np.median(ranks))]
        limit = limit_from(plan, pair, float(plan.formula(plan.pairs[pair], edge[None])[0]))
        assert limit < edge
        np.testing.assert_array_equal(ranks > limit, ranks >= edge)
    assert limit_from(plan, 0, None) == -np.inf


@settings(deadline=None)  # the first call compiles
@given(hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e5, 1e5, width=32)))
def test_halves_are_those_of_numpy(scores):
    counts = np.zeros((1, 1 << 16), np.int64)
    count_halves(scores, np.zeros(scores.size, np.uint8), counts)
    values, numbers = np.unique(np.clip(scores, -65504, 65504).astype(np.float16), return_counts=True)
    (places,) = np.nonzero(counts[0])
    np.testing.assert_array_equal(half_values(places), values)
    assert counts[0][places].tolist() == numbers.tolist()


def test_every_float16_is_counted_as_itself():
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    every = np.concatenate([-every[:0:-1], every])
    counts = np.zeros((1, 1 << 16), np.int64)
    count_halves(every.astype(np.float32), np.zeros(every.size, np.uint8), counts)
    (places,) = np.nonzero(counts[0])
    np.testing.assert_array_equal(half_values(places), every)


def official_curve(images: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The best threshold by the definition: quantiles of either side, histograms between them, one merged curve."""
    thresholds, positives, negatives = [], [], []
    for sides in images:
        quantiles = [np.quantile(s, np.linspace(0, 1, min(QUANTILES, s.size))) for s in sides if s.size]
        edges = np.unique(np.concatenate([[min(s.min() for s in sides if s.size) - 1.0, 1e5], *quantiles]))
        anomalous, normal = (np.histogram(s, edges)[0] for s in sides)
        thresholds.append(edges[:-1])
        positives.append(anomalous)
        negatives.append(normal)
    each, p, n = (np.concatenate(parts) for parts in (thresholds, positives, negatives))
    falling = np.unique(each)[::-1]
    tp, fp = (np.array([counts[each >= t].sum() for t in falling]) for counts in (p, n))
    return float(falling[np.argmax(2 * tp / (tp + fp + p.sum()))])


def counted(scores: np.ndarray) -> np.ndarray:
    counts = np.zeros((1, 1 << 16), np.int64)
    count_halves(scores.astype(np.float32), np.zeros(scores.size, np.uint8), counts)
    return counts[0]


@pytest.mark.parametrize("sizes", [(2000, 5000), (50, 3000), (1, 7), (0, 900)])
def test_the_official_curve(sizes):
    noise = np.random.default_rng(sum(sizes))
    images = [[(noise.normal(1 - k, 1, n)).astype(np.float16) for k, n in enumerate(sizes)] for _ in range(3)]
    images[0][0] = np.append(images[0][0], np.float16(2))
    plan = plan_for(random_values(noise, "pixel", 4, (2, 2)), ["msp"])
    statistic = PercentileCurve(plan, 3)
    total = statistic.zero()
    for image, sides in enumerate(images):
        total.by_image[image] = [between_quantiles(*map(counted, sides))]
    assert best_threshold(total.curve(0)) == official_curve(images)
    travelled = statistic.from_arrays(total.to_arrays())
    np.testing.assert_array_equal(travelled.curve(0), total.curve(0))


def test_no_anomaly_no_threshold():
    nothing = np.zeros(1 << 16, np.int64)
    assert between_quantiles(nothing, nothing).shape == (3, 0)
    assert best_threshold(between_quantiles(nothing, counted(np.ones(3)))) is None

"""What figures draw is a part of the truth: points of scikit-learn's curves, and every pixel in the distributions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import EVERY, curve_of, no_counts, plan_for, random_values, whole
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve
from stores import fill, make_schema

from logitpipe.cache import open_store
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.curves import (
    BINS,
    POINTS,
    STEPS,
    TAIL,
    distributions,
    operating_points,
)
from logitpipe.stages.score.kernels.counting.bins import count
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.passes.sweep import sweep, tally_store
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, from_document, to_document, with_choices
from logitpipe.stages.score.statistics.single_images import ImageAreas

COUNTS = st.integers(2, 400).flatmap(
    lambda bins: st.tuples(st.integers(0, 2**32), st.just(bins), st.sampled_from([1, 5, 10_000]), st.floats(0, 1))
)


def histogram(seed, bins, most, overlap):
    """Counts of two classes, more or less apart, some bins empty."""
    noise = np.random.default_rng(seed)
    slope = np.linspace(0, 1, bins)
    counts = noise.integers(0, most + 1, (2, bins))
    counts[0] = counts[0] * (noise.random(bins) < np.maximum(1 - slope, overlap))
    counts[1] = counts[1] * (noise.random(bins) < np.maximum(slope, overlap))
    counts[0, 0] += 1
    counts[1, -1] += 1
    return counts


def pixels(counts):
    """Labels, scores and weights that have this histogram."""
    label, place = np.nonzero(counts)
    return label, place, counts[label, place]


def on_curve(points, curve):
    """Whether each point is one of a curve, but for float32."""
    distance = np.abs(points[:, None, :] - curve[None]).max(axis=2).min(axis=1)
    return distance.max() <= 1e-7


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_points_lie_on_the_curves_of_scikit_learn_and_enclose_their_area(described):
    counts = histogram(*described)
    recall, precision, fpr = operating_points(curve_of(counts))
    assert recall.shape == precision.shape == fpr.shape == (POINTS,)
    labels, scores, weights = pixels(counts)
    false, true, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    exact_precision, exact_recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
    assert on_curve(np.stack([fpr, recall], 1), np.stack([false, true], 1))
    assert on_curve(np.stack([recall, precision], 1), np.stack([exact_recall, exact_precision], 1))
    assert (recall[0], precision[0], fpr[0], recall[-1], fpr[-1]) == (0, 1, 0, 1, 1)
    assert (np.diff(recall) >= 0).all() and (np.diff(fpr) >= 0).all()
    assert auc(fpr, recall) == pytest.approx(auc(false, true), abs=1 / 256)
    area = float((np.diff(recall.astype(np.float64)) * precision[1:]).sum())
    exact = average_precision_score(labels, scores, sample_weight=weights)
    assert abs(area - exact) <= unknown_precision(counts, recall, fpr) + 1e-6


def unknown_precision(counts, recall, fpr):
    """How much the area under precision over recall can change between the points, where any lie between them."""
    N, P = counts.sum(axis=1)
    TP, FP = np.rint(recall.astype(np.float64) * P), np.rint(fpr.astype(np.float64) * N)
    with np.errstate(invalid="ignore"):
        high = np.nan_to_num(TP[1:] / (TP[1:] + FP[:-1]))
        low = np.nan_to_num(TP[:-1] / (TP[:-1] + FP[1:]))
    reached = TP[1:] / np.maximum(TP[1:] + FP[1:], 1)  # a single bin: all of its recall at the precision behind it
    return float((np.diff(recall) * np.maximum(high - reached, reached - low)).sum())


def test_curves_of_more_points_than_are_kept_are_followed_closely():
    """200 000 bins: every mark has its two neighbours close to it."""
    noise = np.random.default_rng(0)
    counts = np.sort(noise.poisson(3, (2, 200_000)), axis=1)
    counts[0] = counts[0, ::-1]
    curve = curve_of(counts)
    recall, _, fpr = operating_points(curve)
    assert auc(fpr, recall) == pytest.approx(metrics.auroc(curve).value, abs=2e-5)
    marks = np.repeat(np.linspace(0, 2, STEPS + 1), 2)
    assert np.abs(recall + fpr - marks).max() < 1e-4


def test_the_corner_before_a_large_bin_is_kept():
    """A few anomalies alone, less than a step, then all other pixels in one bin: a chord would cut the corner."""
    curve = curve_of(np.array([[1000, 0], [985, 15]]))
    recall, _, fpr = operating_points(curve)
    assert auc(fpr, recall) == pytest.approx(metrics.auroc(curve).value, abs=1e-7)


@pytest.mark.parametrize("counts", [[[0, 0], [1, 2]], [[1, 2], [0, 0]], [[0, 0], [0, 0]]])
def test_without_both_classes_there_are_no_points(counts):
    assert np.isnan(operating_points(curve_of(np.array(counts)))).all()


def counted(plan, scores, labels):
    """The histogram of some scores of the plan's first pair, as the kernels count them."""
    pair = plan.pairs[0]
    bins = plan.bins(pair)
    counts = no_counts(2 * bins.count + 1)
    ranks = scores.astype(np.float32) if plan.pools_scores(pair.method) else plan.rank(pair, scores)
    count(ranks, labels, bins.layout, counts)
    return whole(counts)[:-1].reshape(2, -1)


@pytest.mark.parametrize("centre", [-9, -1])
@pytest.mark.parametrize("protocol", ["standard", "legacy"])
@pytest.mark.parametrize(("kind", "method"), EVERY)
def test_distributions_are_those_of_the_scores(kind, method, protocol, centre):
    """Against numpy's histogram of the scores themselves between the same edges, in the formula's unit."""
    if method.endswith("msp"):
        centre = -9  # 1 - max p cannot pass 1 - 1/K
    noise = np.random.default_rng(1)
    values = random_values(noise, kind, 5, (4, 6))
    plan = plan_for(values, [method], [2.0], PROTOCOLS[protocol], void=4 if kind == "pixel" else None)
    labels = noise.integers(0, 2, 40_000).astype(np.uint8)
    places = noise.normal(centre, 1.5, labels.size) + labels
    scale, K = plan.methods[method].scale, plan.classes(method)
    scores = 1 / (1 + np.exp(centre - places)) if plan.pools_scores(method) else scale.from_axis(places, K)
    if method in ("margin", "gen"):  # which have limits but no logarithmic axis
        scores = plan.formula(plan.pairs[0], places)
    curve = curve_of(counted(plan, scores, labels), plan.bins(plan.pairs[0]))
    normal, anomaly, edges = distributions(plan, plan.pairs[0], curve)
    assert edges.shape == (BINS + 1,) and (np.diff(edges) > 0).all()
    assert normal.sum() == pytest.approx(1, abs=1e-6) and anomaly.sum() == pytest.approx(1, abs=1e-6)
    inside = np.clip(scores, edges[0], edges[-1])
    for label, shares in ((0, normal), (1, anomaly)):
        expected = np.histogram(inside[labels == label], edges)[0] / (labels == label).sum()
        np.testing.assert_allclose(shares, expected, atol=2e-3)
        beyond = (scores[labels == label] < edges[0]).mean(), (scores[labels == label] > edges[-1]).mean()
        assert max(beyond) <= TAIL + 1e-3


def test_one_score_alone_has_a_bin_around_it():
    values = random_values(np.random.default_rng(0), "pixel", 5, (2, 2))
    plan = plan_for(values, ["maxlogit"])
    curve = curve_of(counted(plan, np.full(9, 3.0), np.zeros(9, np.uint8)), plan.bins(plan.pairs[0]))
    found = distributions(plan, plan.pairs[0], curve)
    assert found[0].max() == 1 and np.isnan(found[1]).all()
    assert found[2][0] < 3 < found[2][-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", METHODS)
def test_sketches_are_in_the_order_of_the_pairs(tmp_path, kind):
    store = open_store(fill(tmp_path / "store", make_schema(kind)))
    plan = make_plan(store.schema, PROTOCOLS["standard"], None, [0.5, 2.0])
    found = sweep(store, plan, range(3), 1, lambda: None, sketched=True)
    for pair, (row, drawn, *_) in zip(plan.pairs, found, strict=True):
        assert (row.method, row.temperature) == (pair.method, pair.temperature)
        assert auc(drawn.fpr, drawn.recall) == pytest.approx(row.auroc, abs=1 / 256)


def areas_of(store, plan, images, workers, advance):
    statistic = ImageAreas(plan)
    total = walk(GroundTruth(store, plan.protocol, images), images, statistic, workers, advance)
    assert statistic.finish(statistic.from_arrays(total.to_arrays())) == statistic.finish(total)
    return statistic.finish(total)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", METHODS)
def test_areas_of_single_images_are_those_of_stores_of_one_image(tmp_path, kind, protocol):
    store = open_store(fill(tmp_path / "store", make_schema(kind)))
    plan = make_plan(store.schema, PROTOCOLS[protocol], None, [0.5, 2.0])
    steps = []
    found = areas_of(store, plan, [2, 0], 2, lambda: steps.append(1))
    assert list(found) == [0, 2] and len(steps) == 2
    for image, areas in found.items():
        tally = tally_store(store, plan, [image], 1, lambda: None)
        alone = [metrics.auprc(tally.curve(i))[0] for i in range(len(plan.pairs))]
        assert areas == alone


def test_images_without_an_anomaly_have_no_area_or_are_skipped(tmp_path):
    schema = make_schema("pixel", images=["a.png", "b.png"])
    fill(tmp_path / "store", schema, images=[0])
    store = open_store(fill(tmp_path / "store", schema, images=[1], codes=(0, 255)))
    for name, expected in (("standard", {0, 1}), ("course", {0})):
        plan = make_plan(store.schema, PROTOCOLS[name], ["msp"], [1.0])
        found = areas_of(store, plan, [0, 1], 1, lambda: None)
        assert set(found) == expected
        assert found[0][0] is not None and found.get(1, [None]) == [None]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_survive_json(name):
    changed = with_choices(PROTOCOLS[name], {"label-codes": "normal=0+3,anomaly=1-2,void=7", "min-max": "msp,eam"})
    for protocol in (PROTOCOLS[name], changed):
        assert from_document(json.loads(json.dumps(to_document(protocol)))) == protocol

"""Open-set figures against the official definition, pixel by pixel."""

import numpy as np
import pytest
from reference import Scene
from scoring import random_values, write_store

from logitpipe.stages.score.figures.open_set import RULES, open_set_figures, operating_points
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.labels.spaces import NO_CLASS, LabelSpace
from logitpipe.stages.score.passes.closed_set import ClassTruth
from logitpipe.stages.score.passes.open_set import OpenTruth, open_set_rows
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.prediction import predicted_classes
from logitpipe.stages.score.protocols import PROTOCOLS, with_choices
from logitpipe.stages.score.statistics.histograms import Histograms
from logitpipe.stages.score.statistics.open_set import OpenSet

K = 4
CODES = {f"class {k}": k for k in range(K)}
SPACE = LabelSpace("own", tuple(CODES), {name: k for k, name in enumerate(CODES)})
PROTOCOL = with_choices(PROTOCOLS["standard"], {"label-codes": "normal=0-3,anomaly=9,void=255"})
UNKNOWN = 9


@pytest.fixture(scope="module", params=["pixel", "mask"])
def store(request, tmp_path_factory):
    """Five images with known classes, of which class 3 never occurs, and an object that is none of them."""
    noise, scenes = np.random.default_rng(2), []
    for i in range(5):
        codes = noise.integers(0, 3, (20, 30)).astype(np.uint8)
        codes[4:12, 5 + i : 15 + i] = UNKNOWN
        codes[noise.random(codes.shape) < 0.1] = 255
        scenes.append(
            Scene(
                f"{i}.png",
                random_values(noise, request.param, K if request.param == "pixel" else 6, (20, 30), K),
                codes,
            )
        )
    return write_store(tmp_path_factory.mktemp(request.param) / "store", scenes)


def plan_of(store):
    return make_plan(store.schema, PROTOCOL, None, (0.5, 1.0))


def pooled(store, plan, pair):
    """Codes (n,), ranks (n,) and predicted classes (n,) of all labelled pixels."""
    parts = []
    channels, groups = SPACE.channels(store.schema)
    for image in store.completed():
        picture = read_picture(store, GroundTruth(store, PROTOCOL, [0]), image)
        ((_, ranks),) = picture.score_maps(plan, [pair])
        predicted = predicted_classes(picture, channels, groups, plan.pairs[pair].temperature or 1.0)
        codes = store.labels(image)
        parts.append([array[codes != 255] for array in (codes, ranks, predicted)])
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def test_as_issu_defines_them(store):
    plan, images = plan_of(store), store.completed()
    rows = [scored.row for scored in sweep(store, plan, images, 1, lambda: None)]
    readings = []
    found = open_set_rows(store, plan, SPACE, CODES, images, rows, 2, lambda: readings.append(1))
    assert len(readings) == 2 * 5
    assert [row.rule for row in found] == list(RULES) * len(plan.pairs)
    for pair, row in enumerate(rows):
        codes, ranks, predicted = pooled(store, plan, pair)
        for at, each in zip(RULES, found[3 * pair : 3 * pair + 3], strict=True):
            assert (each.method, each.temperature) == (row.method, row.temperature)
            scores = plan.formula(plan.pairs[pair], ranks)
            opened = np.where(scores >= each.threshold, K, predicted)
            truth = np.where(codes == UNKNOWN, K, codes)
            ious = [iou_of(truth, opened, k) for k in range(K + 1)]
            assert each.figures.open_miou == pytest.approx(np.nansum(ious[:K]) / K)
            assert each.figures.open_miou_occurring == pytest.approx(np.nanmean(ious[:K]))
            assert each.figures.unknown_iou == pytest.approx(ious[K])
            known = truth < K
            closed = [iou_of(truth[known], predicted[known], k) for k in range(K)]
            assert each.figures.closed_miou == pytest.approx(np.nansum(closed) / K)
            is_above = scores >= each.threshold
            if at == "tpr95":
                assert is_above[truth == K].mean() >= 0.95
            if at == "fpr5":
                assert is_above[known].mean() >= 0.05
            if at == "best-f1":
                f1 = 2 * (is_above & ~known).sum() / (is_above.sum() + (~known).sum())
                assert f1 == pytest.approx(row.best_f1, abs=1e-3)


def iou_of(truth, predicted, k):
    union = ((truth == k) | (predicted == k)).sum()
    return ((truth == k) & (predicted == k)).sum() / union if union else np.nan


def test_tpr_at_5_per_cent_fpr(store):
    """At the first FPR >= 0.05, from every single score."""
    plan = plan_of(store)
    truth = GroundTruth(store, PROTOCOL, store.completed())
    tally = walk(truth, store.completed(), Histograms(store, plan), 1, lambda: None)
    for pair in range(len(plan.pairs)):
        points = operating_points(tally.curve(pair))
        codes, ranks, _ = pooled(store, plan, pair)
        normal, anomalous = np.sort(ranks[codes != UNKNOWN])[::-1], ranks[codes == UNKNOWN]
        threshold = normal[int(np.ceil(0.05 * normal.size)) - 1]
        assert points.tpr_at_5_fpr == pytest.approx((anomalous >= threshold).mean(), abs=2e-3)


def test_any_number_of_workers_gives_the_same_counts(store):
    plan = plan_of(store)
    channels, groups = SPACE.channels(store.schema)
    statistic = OpenSet(plan, np.zeros((len(plan.pairs), 3), np.float32), channels, groups, K)
    truth = OpenTruth(
        GroundTruth(store, PROTOCOL, store.completed()), ClassTruth(store, PROTOCOL, SPACE.table(CODES)), K
    )
    totals = [walk(truth, store.completed(), statistic, workers, lambda: None) for workers in (1, 3)]
    for name, array in totals[0].to_arrays().items():
        np.testing.assert_array_equal(array, totals[1].to_arrays()[name])
    again = statistic.from_arrays(totals[0].to_arrays())
    np.testing.assert_array_equal(again.opened, totals[0].opened)
    labels = truth.labels(0)
    assert set(np.unique(labels)) == {0, 1, 2, K, NO_CLASS}


def test_without_classes_there_is_still_a_rate(store):
    plan, images = plan_of(store), store.completed()
    rows = [scored.row for scored in sweep(store, plan, images, 1, lambda: None)]
    found = open_set_rows(store, plan, SPACE, {}, images, rows, 1, lambda: None)
    assert all(row.figures is None and 0 <= row.tpr_at_5_fpr <= 1 for row in found)


def test_two_means_of_iou():
    """A class that occurs nowhere counts 0 for the one, and is left out of the other."""
    opened = np.zeros((4, 4), np.int64)
    opened[0, 0] = opened[3, 3] = 6
    opened[1, 3] = 4
    opened[1, 1] = 4
    closed = np.diag([6, 8, 0])
    figures = open_set_figures(opened, closed)
    assert (figures.open_miou, figures.open_miou_occurring) == (0.5, 0.75)
    assert (figures.closed_miou, figures.closed_miou_occurring) == (pytest.approx(2 / 3), 1)
    assert figures.unknown_iou == 0.6


def test_no_unknown_no_points():
    from scoring import curve_of

    assert operating_points(curve_of(np.array([[3, 2], [0, 0]]))) is None

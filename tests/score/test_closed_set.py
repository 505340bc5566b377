"""Closed-set figures: against torchmetrics, against float64, and the same whatever divides the work."""

import numpy as np
import pytest
from reference import Scene, upsample
from scipy.special import expit, log_softmax, softmax
from scoring import describe, random_values, write_store

from logitpipe.cache import PipeError
from logitpipe.stages.classes import CLASS_CODES, COCO, COCO_TO_CITYSCAPES
from logitpipe.stages.score.kernels.counting.classes import BINS
from logitpipe.stages.score.labels.spaces import (
    LABEL_SPACES,
    NO_CLASS,
    LabelSpace,
    label_space,
)
from logitpipe.stages.score.passes.closed_set import ClassTruth, closed_set_rows
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.class_counts import ClassCounts

K, SIZE, STORED = 5, (24, 30), (12, 17)
CODES = {f"class {k}": 10 * k for k in range(K)}
TEMPERATURES = (0.05, 0.5, 1.0, 3.0, 100.0)


@pytest.fixture(scope="module", params=["pixel", "mask"])
def store(request, tmp_path_factory):
    """Four images whose logits lean towards the right class; resampled by no whole number."""
    noise, scenes = np.random.default_rng(1), []
    for i in range(4):
        codes = noise.integers(0, K, SIZE).astype(np.uint8) * 10
        codes[noise.random(SIZE) < 0.1] = 255
        values = random_values(noise, request.param, K + 1 if request.param == "pixel" else 7, STORED, K)
        if request.param == "pixel":
            values["logits"] *= 0.5
            values["logits"][1] += 2
        scenes.append(Scene(f"{i}.png", values, codes))
    return write_store(
        tmp_path_factory.mktemp(request.param) / "store", scenes, K if request.param == "pixel" else None
    )


OWN = LabelSpace("own", tuple(CODES), {name: k for k, name in enumerate(CODES)})
PAIRS = LabelSpace("pairs", ("a", "b"), {"class 0": 0, "class 2": 0, "class 1": 1, "class 4": 1})


def log_probabilities(store, image: int, space: LabelSpace, T: float) -> np.ndarray:
    """ln p of each class at the evaluation size, float64 (K, H, W)."""
    channels, groups = space.channels(store.schema)
    if store.schema.kind == "pixel":
        z = upsample(store.read("logits", image).astype(np.float64)[channels], SIZE)
        p = softmax(z / T, axis=0)
        log = log_softmax(z / T, axis=0)
    else:
        M = expit(store.read("mask_logits", image).astype(np.float64))
        P = softmax(store.read("class_logits", image).astype(np.float64) / T, axis=1)
        S = upsample(np.einsum("qk,qhw->khw", P[:, channels], M), SIZE)
        p = S / S.sum(axis=0)
        log = np.log(p)
    members = [groups == group for group in range(len(space.classes))]
    if all(of.sum() == 1 for of in members):
        return np.stack([log[of][0] for of in members])
    return np.log([p[of].sum(axis=0) for of in members])


def all_labelled(store, space: LabelSpace, T: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and ln p (n, K) of all pixels that count."""
    table = space.table(CODES)
    labels = [table[store.labels(image)] for image in store.completed()]
    logs = [log_probabilities(store, image, space, T).transpose(1, 2, 0) for image in store.completed()]
    kept = [each != NO_CLASS for each in labels]
    return (
        np.concatenate([each[of] for each, of in zip(labels, kept, strict=True)]),
        np.concatenate([each[of] for each, of in zip(logs, kept, strict=True)]),
    )


def rows_of(store, space=OWN, temperatures=TEMPERATURES, workers=1):
    images = store.completed()
    return closed_set_rows(store, PROTOCOLS["standard"], space, CODES, temperatures, images, workers, lambda: None)


@pytest.mark.slow
@pytest.mark.parametrize("space", [OWN, PAIRS], ids=lambda space: space.name)
def test_against_float64(store, space):
    """The definitions, once more: NLL, Brier and calibration to 1e-6, counts exactly."""
    for row in rows_of(store, space):
        labels, logs = all_labelled(store, space, row.temperature)
        p, predicted = np.exp(logs), logs.argmax(axis=1)
        figures = row.figures
        assert figures.pixels == labels.size
        assert figures.accuracy == (predicted == labels).mean()
        expected = [
            ((predicted == k) & (labels == k)).sum() / ((predicted == k) | (labels == k)).sum()
            for k in range(len(space.classes))
        ]
        assert figures.iou == pytest.approx(expected, abs=1e-12)
        assert figures.miou == pytest.approx(np.mean(expected), abs=1e-12)
        nll = -logs[np.arange(labels.size), labels].mean()
        assert figures.nll == pytest.approx(nll, abs=1e-6, rel=1e-6)
        brier = ((p - np.eye(len(space.classes))[labels]) ** 2).sum(axis=1).mean()
        assert figures.brier == pytest.approx(brier, abs=1e-6)
        confidence = p.max(axis=1)
        place = np.clip(np.ceil(confidence * BINS), 1, BINS)
        gaps = [
            abs((predicted == labels)[place == b].sum() - confidence[place == b].sum()) for b in range(1, BINS + 1)
        ]
        assert figures.ece == pytest.approx(sum(gaps) / labels.size, abs=1e-6)


@pytest.mark.slow
def test_against_torchmetrics(store):
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.functional.classification")
    (row,) = rows_of(store, OWN, [1.0])
    labels, logs = all_labelled(store, OWN, 1.0)
    p, y = torch.tensor(np.exp(logs)), torch.tensor(labels.astype(np.int64))
    error = classification.multiclass_calibration_error(p, y, num_classes=K, n_bins=BINS, norm="l1")
    assert row.figures.ece == pytest.approx(float(error), abs=1e-6)
    matrix = classification.multiclass_confusion_matrix(p, y, num_classes=K).numpy()
    np.testing.assert_array_equal(total_of(store, 1).confusion[2], matrix)


def total_of(store, workers: int, parts: int = 1):
    channels, groups = OWN.channels(store.schema)
    statistic = ClassCounts(channels, groups, K, TEMPERATURES)
    truth = ClassTruth(store, PROTOCOLS["standard"], OWN.table(CODES))
    images = np.array_split(store.completed(), parts)
    totals = [walk(truth, some.tolist(), statistic, workers, lambda: None) for some in images]
    for other in totals[1:]:
        totals[0].add(statistic.from_arrays(other.to_arrays()))
    return totals[0]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "parts"), [(3, 1), (1, 2), (2, 4)])
def test_what_divides_the_work_changes_no_bit(store, workers, parts):
    one, other = total_of(store, 1), total_of(store, workers, parts)
    assert one.images == other.images == 4
    assert [one.sum(t, n) for t in range(5) for n in range(2)] == [
        other.sum(t, n) for t in range(5) for n in range(2)
    ]
    np.testing.assert_array_equal(one.confusion, other.confusion)
    np.testing.assert_array_equal(one.bins, other.bins)


def test_workers_that_share_an_image(store):
    """Its temperatures are divided, and nothing else."""
    channels, groups = OWN.channels(store.schema)
    statistic = ClassCounts(channels, groups, K, TEMPERATURES)
    truth = ClassTruth(store, PROTOCOLS["standard"], OWN.table(CODES))
    from logitpipe.stages.score.picture import read_picture

    picture, one, three = read_picture(store, truth, 0), statistic.zero(), statistic.zero()
    statistic.of_image(picture, one, 1)
    statistic.of_image(picture, three, 3)
    for name, array in one.to_arrays().items():
        np.testing.assert_array_equal(array, three.to_arrays()[name])


def test_sums_beyond_int64(store):
    """Two halves hold what one would not: a million images of the most that one may add."""
    total = total_of(store, 1)
    total.sums[:] = 1 << 30, (1 << 32) - 1
    for _ in range(20):
        total.add(total_copy(total))
    assert total.sum(0, 0) == ((1 << 62) + (1 << 32) - 1) << 20


def total_copy(total):
    return type(total)(total.confusion.copy(), total.sums.copy(), total.bins.copy(), total.images)


def test_the_temperature_of_least_nll(store):
    rows = rows_of(store)
    (best,) = [row for row in rows if row.least_nll]
    assert best.figures.nll == min(row.figures.nll for row in rows)


@pytest.mark.slow
def test_a_network_that_is_sure():
    """NLL of float32's own logarithms: far beyond the least number that it can hold, and at 0."""
    from logitpipe.stages.score.kernels.counting.classes import NLL, NLL_UNIT, count_logits
    from logitpipe.stages.score.kernels.resampling import axis_weights

    logits = np.array([[[0.0, 0.0]], [[-300.0, -30.0]]], np.float32)
    axes, labels = (axis_weights(1, 1), axis_weights(2, 2)), np.array([[1, 0]], np.uint8)
    confusion, sums, bins = np.zeros((1, 2, 2), np.int64), np.zeros((1, 2), np.int64), np.zeros((1, 15, 3), np.int64)
    two = np.arange(2)
    count_logits(logits, two, two, np.array([0.5]), axes, labels, confusion, sums, bins)
    assert sums[0, NLL] * NLL_UNIT == pytest.approx(600, abs=1e-5)
    assert confusion.tolist() == [[[1, 0], [1, 0]]]


def test_masks_that_name_no_class(store):
    with pytest.raises(PipeError, match="need masks that name classes") as raised:
        closed_set_rows(store, PROTOCOLS["standard"], OWN, {}, [1.0], [0], 1, lambda: None)
    assert raised.value.remedy == "class-codes"


def test_label_spaces():
    spaces = LABEL_SPACES
    assert [len(spaces[name].classes) for name in ("cityscapes", "macro", "common")] == [19, 7, 17]
    assert set(spaces["cityscapes"].classes) - set(spaces["common"].classes) == {"pole", "rider"}
    assert set(COCO_TO_CITYSCAPES) <= set(COCO)
    train_ids = {COCO.index(theirs): CLASS_CODES["train-ids"][ours] for theirs, ours in COCO_TO_CITYSCAPES.items()}
    things = {0: 11, 1: 18, 2: 13, 3: 17, 5: 15, 6: 16, 7: 14, 9: 6, 11: 7}
    walls = dict.fromkeys((109, 110, 111, 112, 131), 3)
    assert train_ids == things | walls | {100: 0, 123: 1, 129: 2, 91: 2, 117: 4, 116: 8, 125: 9, 126: 9, 119: 10}
    table = spaces["macro"].table(CLASS_CODES["label-ids"])
    assert (table[7], table[33], table[0], table[17]) == (0, 6, NO_CLASS, 2)


def test_channels_of_a_network():
    values = {"mask_logits": np.zeros((2, 4, 4), np.float32), "class_logits": np.zeros((2, 134), np.float32)}
    coco = describe(values, classes=COCO)
    channels, groups = LABEL_SPACES["common"].channels(coco)
    assert channels.size == 23
    assert set(groups) == set(range(17))
    own = describe({"logits": np.zeros((4, 2, 2), np.float32)}, void=3)
    assert label_space("own", own).classes == ("class 0", "class 1", "class 2")
    assert label_space("own", own).channels(own)[0].tolist() == [0, 1, 2]
    with pytest.raises(PipeError, match="fewer than two of the classes"):
        LABEL_SPACES["common"].channels(own)

"""Component figures as SegmentMeIfYouCan defines them (Chan et al. 2021): sIoU, PPV and F1."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from logitpipe.stages.datasets import known_name

SIOU = np.linspace(0.25, 0.75, 11)
"""The thresholds t of F1, with the digits that the official tool has: .6 is 0.6000000000000001."""

PER_CENT = tuple(round(100 * t) for t in SIOU)
"""Their names: 25, 30, ... 75."""


class Sizes(NamedTuple):
    """Which components are looked at, by their pixels: from the first number up to, and without, the second."""

    predicted: tuple[float, float]
    truth: tuple[float, float]

    @classmethod
    def from_least(cls, predicted: float, truth: float) -> "Sizes":
        """Return sizes without an upper limit."""
        return cls((predicted, np.inf), (truth, np.inf))


class Matched(NamedTuple):
    """The components of one image that remain, and how they meet those of the other side.

    Parameters
    ----------
    siou : float64 (g,), of each component of the ground truth
    ppv : float64 (p,), of each predicted component
    """

    siou: np.ndarray
    ppv: np.ndarray


@dataclass(frozen=True)
class ComponentFigures:
    """What the components of a data set come to; None is what does not exist, as without any component.

    Parameters
    ----------
    components_truth, components_predicted : numbers of components that remain
    siou, ppv : means over components
    f1 : mean of `f1_at`
    f1_at, tp, fn, fp : for each t of SIOU: F1 and its counts, sIoU >= t, sIoU < t and PPV < t
    """

    components_truth: int
    components_predicted: int
    siou: float | None
    ppv: float | None
    f1: float | None
    f1_at: tuple[float | None, ...]
    tp: tuple[int, ...]
    fn: tuple[int, ...]
    fp: tuple[int, ...]


ANOMALY_TRACK = Sizes.from_least(500, 100)
OBSTACLE_TRACK = Sizes.from_least(50, 10)
"""Least pixels of a predicted object, and of one of the ground truth, in the two tracks of SegmentMeIfYouCan."""


OBJECT_SIZES: dict[str, Sizes] = {
    "too small": Sizes((49, 512), (49, 256)),
    "small": Sizes((128, 4608), (256, 2304)),
    "large": Sizes((1152, 25088), (2304, 12544)),
    "very large": Sizes((6272, np.inf), (12544, np.inf)),
}
"""The object sizes of ISSU (Vojíř et al. 2025): from 7, 16, 48, 112 pixels squared; predictions of half to twice."""


def sizes_of(dataset: str) -> Sizes:
    """Return the limits of a track of SegmentMeIfYouCan; any other data set has those of its anomaly track."""
    return OBSTACLE_TRACK if known_name(dataset) == "RoadObsticle21" else ANOMALY_TRACK


def match(sizes: Sizes, predicted: np.ndarray, truth: np.ndarray, pieces: np.ndarray) -> Matched:
    """Return how the components of one image meet.

    In this order, as the official tool has it: predicted components of another size are dropped; components of the
    ground truth of another size become void, and take their pixels out of the predicted ones; predicted components
    that vanish do not count, others stay as they are.

    With I the predicted pixels of component i, J the predicted components that touch it, and A the pixels of J on
    other components of the ground truth, sIoU = I / (|J| + |i| - I - A) and PPV = |j on ground truth| / |j|.

    Parameters
    ----------
    predicted, truth : int64 (p,) and (g,), pixels of each component
    pieces : int64 (m, 3), predicted component from 0, component of the ground truth from 1 (0: none), pixels of both
    """
    is_kept = np.concatenate([[True], _within(truth, sizes.truth)])
    # Both steps of the official tool at once: neither changes what the other looks at.
    pieces = pieces[_within(predicted, sizes.predicted)[pieces[:, 0]] & is_kept[pieces[:, 1]]]
    # One integer for each pair of components: a pair may meet in many stretches, which are added up.
    met, same = np.unique(pieces[:, 0] * is_kept.size + pieces[:, 1], return_inverse=True)
    pixels = _summed(same, pieces[:, 2], met.size)
    j, i = np.divmod(met, is_kept.size)
    size, on_truth = _summed(j, pixels, predicted.size), _summed(j, np.where(i > 0, pixels, 0), predicted.size)

    hits = _summed(i, pixels, is_kept.size)
    # |J| - A of each component: the pixels of J that lie on it or on nothing.
    reach = _summed(i, size[j] - on_truth[j] + pixels, is_kept.size)
    union = (reach - hits)[1:] + truth
    siou = (hits[1:] / union)[is_kept[1:]]
    return Matched(siou, on_truth[size > 0] / size[size > 0])


def component_figures(
    truth: int, predicted: int, siou: float, ppv: float, tp: np.ndarray, fp: np.ndarray
) -> ComponentFigures:
    """Return figures from the numbers of components, the sums of sIoU and PPV, and the counts at each t."""
    fn = truth - tp
    f1 = [
        2 * hit / (2 * hit + missed + false) if hit + missed + false else None
        for hit, missed, false in zip(tp, fn, fp, strict=True)
    ]
    known = [float(each) for each in f1 if each is not None]
    return ComponentFigures(
        truth,
        predicted,
        siou / truth if truth else None,
        ppv / predicted if predicted else None,
        sum(known) / len(known) if known else None,
        tuple(None if each is None else float(each) for each in f1),
        tuple(tp.tolist()),
        tuple(fn.tolist()),
        tuple(fp.tolist()),
    )


def _within(pixels: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (limits[0] <= pixels) & (pixels < limits[1])


def _summed(index: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Return the sum of the values at each index: pixels of an image, which float64 adds exactly."""
    return np.bincount(index, weights=values, minlength=size).astype(np.int64)

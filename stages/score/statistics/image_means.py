"""Figures of single images from all their scores in order, for protocols that take the mean over images."""

from collections.abc import Sequence

import numpy as np

from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.metrics import Best, Bounded, Curve, Figures
from logitpipe.stages.score.kernels.counting import ANOMALY, NORMAL, count_above
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.statistics.ordered import Descent, Stretch

AT_THRESHOLD = ("normal", "anomaly", "mean")
"""Of `metrics.iou`."""


def image_values(plan: Plan, picture: Picture, pairs: Sequence[int]) -> dict[int, np.ndarray]:
    """Return figures of one image for some pairs by their index; nothing where it lacks a class of pixels.

    Returns
    -------
    float64 (2 + 5 + 3 thresholds,) each: normal and anomalous pixels; AuPRC, FPR95, AUROC, best F1, best mean IoU;
    the IoU of normal, of anomalous pixels and their mean at each threshold
    """
    labels = picture.labels.reshape(-1)
    pixels = np.bincount(labels, minlength=2)[:2]
    if not pixels.all():
        return {}
    found = {}
    for pair, scores in picture.score_maps(plan, pairs):
        flat = np.ascontiguousarray(scores).reshape(-1)
        figures, ious = _figures(plan, pair, flat, labels), _ious(plan, pair, flat, labels, pixels)
        found[pair] = np.array([*pixels, *figures, *ious], np.float64)
    return found


def mean_figures(values: np.ndarray) -> Figures | None:
    """Return the means over images as figures, which nothing leaves open; None without any image.

    Parameters
    ----------
    values : float64 (images, n) of `image_values`, without the pixels
    """
    if not len(values):
        return None
    auprc, fpr95, auroc, f1, iou = (Bounded(*(float(mean),) * 3) for mean in values[:, :5].mean(axis=0))
    # Each image has a best threshold of its own.
    none = np.float32(np.nan)
    return Figures(auprc, fpr95, auroc, Best(f1, none), Best(iou, none))


def mean_ious(values: np.ndarray, thresholds: Sequence[float]) -> list[dict[str, float | None]]:
    """Return the mean IoU over images at each threshold, as `rows.Row` has it."""
    means = values[:, 5:].mean(axis=0).reshape(-1, 3).tolist() if len(values) else [[None] * 3] * len(thresholds)
    return [
        {"threshold": threshold, **dict(zip(AT_THRESHOLD, of_threshold, strict=True))}
        for threshold, of_threshold in zip(thresholds, means, strict=True)
    ]


def _figures(plan: Plan, pair: int, scores: np.ndarray, labels: np.ndarray) -> list[float]:
    P, N = np.sort(scores[labels == ANOMALY]), np.sort(scores[labels == NORMAL])
    # One bin for everything: all of it is walked through score by score.
    column = (np.zeros(1, np.int64), np.array([P.size]), np.array([N.size]), np.zeros(1, bool))
    curve = Curve(*column, np.full(1, -np.inf, np.float32))
    descent = Descent(curve, plan.protocol.reading)
    descent.go_on(Stretch(curve, plan.bins(plan.pairs[pair])), P, N)
    found = descent.figures()
    return [
        found.auprc.value,
        found.fpr95.value,
        found.auroc.value,
        found.best_f1.value.value,
        found.best_iou.value.value,
    ]


def _ious(plan: Plan, pair: int, scores: np.ndarray, labels: np.ndarray, pixels: np.ndarray) -> list[float | None]:
    above = np.zeros((len(plan.thresholds), 2), np.int64)
    count_above(scores, labels, plan.threshold_ranks[pair], above)
    return [metrics.iou(each, pixels)[name] for each in above for name in AT_THRESHOLD]

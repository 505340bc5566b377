"""Figures of single images from all their scores in order, for protocols that take the mean over images."""

from collections.abc import Sequence

import numpy as np

from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.metrics import Best, Bounded, Figures
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, count_above
from logitpipe.stages.score.kernels.counting.gaps import count_gaps, first_edges
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.statistics.gaps import edges_of, exact_figures

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
    # No figure exists there; a 0 or a 1 in its stead would move the mean.
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
    return Figures(auprc, fpr95, none, auroc, Best(f1, none), Best(iou, none))


def mean_ious(values: np.ndarray, thresholds: Sequence[float]) -> list[dict[str, float | None]]:
    """Return the mean IoU over images at each threshold, as `rows.Row` has it."""
    means = values[:, 5:].mean(axis=0).reshape(-1, 3).tolist() if len(values) else [[None] * 3] * len(thresholds)
    return [
        {"threshold": threshold, **dict(zip(AT_THRESHOLD, of_threshold, strict=True))}
        for threshold, of_threshold in zip(thresholds, means, strict=True)
    ]


def _figures(plan: Plan, pair: int, scores: np.ndarray, labels: np.ndarray) -> list[float]:
    edges, layout = edges_of(scores[labels == ANOMALY]), plan.bins(plan.pairs[pair]).layout
    gaps = np.zeros(2 * edges.scores.size + 1, np.uint32)
    count_gaps(scores, labels, layout, first_edges(edges.scores, layout), edges.scores, gaps)
    found = exact_figures(edges, gaps, plan.protocol.reading)
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

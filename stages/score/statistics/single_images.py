"""Figures of single images: all, for protocols that take the mean over images; AuPRC alone, for a gallery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.metrics import Best, Bounded, Figures
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, NORMAL, count_above
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.statistics.ordered import sorted_figures
from logitpipe.stages.score.statistics.tally import PAIR_BYTES, Tally

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
        figures, ious = _figures(plan, flat, labels), _ious(plan, pair, flat, labels, pixels)
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


def _figures(plan: Plan, scores: np.ndarray, labels: np.ndarray) -> list[float]:
    found = sorted_figures(scores[labels == ANOMALY], scores[labels == NORMAL], plan.protocol.reading)
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


@dataclass
class Areas:
    """AuPRC of each pair of a plan on each image by itself (see `statistics.Total`).

    Parameters
    ----------
    by_image : index of the image -> one figure for each pair; None is what does not exist, as where an image has no
        anomalous or no normal pixels
    """

    by_image: dict[int, list[float | None]] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images have been added."""
        return len(self.by_image)

    def add(self, other: "Areas") -> None:
        """Add those of other images."""
        self.by_image |= other.by_image

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return int64 (n,) images and float64 (n, pairs) areas, NaN for what does not exist."""
        areas = [[np.nan if area is None else area for area in row] for row in self.by_image.values()]
        return {"images": np.array(list(self.by_image), np.int64), "areas": np.array(areas, np.float64)}


@dataclass(frozen=True)
class ImageAreas:
    """AuPRC of each pair of a plan on each image by itself (see `statistics.Statistic`)."""

    plan: Plan

    @cached_property
    def expected_bytes(self) -> int:
        """See `Statistic`: while an image is counted, its histograms take up room."""
        return len(self.plan.pairs) * PAIR_BYTES

    def zero(self) -> Areas:
        """See `Statistic`."""
        return Areas()

    def of_image(self, picture: Picture, total: Areas, threads: int = 1) -> None:  # noqa: ARG002 - one is enough
        """Count one image into a tally of its own."""
        # No histogram outlives its image: only its area is kept.
        tally = Tally.zero(self.plan)
        picture.count(self.plan, range(len(self.plan.pairs)), tally.counts, tally.above)
        areas = (metrics.auprc(tally.curve(pair)) for pair in range(len(self.plan.pairs)))
        total.by_image[picture.image] = [area[0] if area else None for area in areas]

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Areas:
        """See `Statistic`."""
        if arrays["images"].size and arrays["areas"].shape[1:] != (len(self.plan.pairs),):
            raise ValueError(
                f"{len(self.plan.pairs)} areas of each image were expected, {arrays['areas'].shape} found"
            )
        rows = [[None if np.isnan(area) else float(area) for area in row] for row in arrays["areas"]]
        return Areas(dict(zip(arrays["images"].tolist(), rows, strict=True)))

    def finish(self, total: Areas) -> dict[int, list[float | None]]:
        """Return one AuPRC for each pair by the index of the image."""
        return dict(sorted(total.by_image.items()))

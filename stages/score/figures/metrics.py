"""From two histograms to the figures: area under precision-recall and ROC, FPR at 95 % TPR, F1, IoU.

Within a bin the order of pixels is unknown, so every figure comes with *resolution bounds*: the least and the
greatest value that any order could give. A bin that is known to hold a single score is a tie: nothing is open there.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.figures.reading import Area, Reading, Rule
from logitpipe.stages.score.kernels.curves import figures

ROUNDING = 1e-9
"""More than float64 can err in a sum over all bins; the bounds of areas are wider by it on both sides."""


class Bounded(NamedTuple):
    """A figure and its resolution bounds."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Curve:
    """What the figures need of a histogram: its filled bins, by falling score.

    Parameters
    ----------
    bins : int64 (n,), indices of the filled bins
    p, n : int64 (n,), anomalous and normal pixels of each
    tied : bool (n,), whether a bin is known to hold a single score
    lows : float32 (n,), the least score in each bin, as a rank; where that is not known, the bin's lower edge
    """

    bins: np.ndarray
    p: np.ndarray
    n: np.ndarray
    tied: np.ndarray
    lows: np.ndarray

    @cached_property
    def positives(self) -> int:
        """All anomalous pixels."""
        return int(self.p.sum())

    @cached_property
    def negatives(self) -> int:
        """All normal pixels."""
        return int(self.n.sum())

    @cached_property
    def measurable(self) -> bool:
        """Whether there are pixels of both classes, without which no figure exists."""
        return self.positives > 0 and self.negatives > 0


def auprc(curve: Curve, area: Area = "step") -> Bounded | None:
    """Return the area under the precision-recall curve; None where there is no anomalous or no normal pixel.

    Average precision is step-wise, sum over positives of the precision at their rank, as scikit-learn has it; ties
    share the precision behind them. The least comes from all negatives of a bin before its positives, each alone; the
    greatest from all its positives tied, before its negatives. The figure itself takes the order within a bin as
    random: positive j of p has n j/(p + 1) negatives before it. By "trapezoid" a positive has the mean of the
    precisions at its rank and at the point before it; the least comes from positives that tie behind all negatives.
    """
    if not curve.measurable:
        return None
    found = figures.precision_sums(curve.p, curve.n, curve.tied, area == "trapezoid")
    sums = (total / curve.positives for total in found)
    return _area(*sums)


def auroc(curve: Curve) -> Bounded | None:
    """Return the area under the ROC curve, ties counted half; None without anomalous or normal pixels."""
    if not curve.measurable:
        return None
    areas = figures.roc_area(curve.p, curve.n, curve.tied)
    return _area(*(area / curve.positives / curve.negatives for area in areas))


def fpr_at_95_tpr(curve: Curve, rule: Rule) -> Bounded | None:
    """Return the false positive rate where the true positive rate reaches 0.95; None without both kinds of pixels.

    "first" is the first point of the ROC curve with TPR >= 0.95 and "above" the first with TPR > 0.95; "linear" lies
    between the points of the curve, as np.interp has it. Within the bin where that happens, positives and negatives
    are taken as evenly mixed; its bounds are none and all of its negatives. In a tie all of it is reached at once.
    """
    if not curve.measurable:
        return None
    N, needed = curve.negatives, needed_positives(curve.positives, rule)
    i, TP, FP = figures.first_reaching(curve.p, curve.n, needed)
    p, n = int(curve.p[i]), int(curve.n[i])
    if rule == "linear" and TP + p == needed:  # of several points with this TPR, np.interp takes the last
        j = i + 1 + int(np.argmax(curve.p[i + 1 :] > 0)) if (curve.p[i + 1 :] > 0).any() else curve.p.size
        FP += int(curve.n[i:j].sum())
        following = 0 if j == curve.p.size or curve.tied[j] else int(curve.n[j])
        return Bounded(FP / N, FP / N, (FP + following) / N)
    # p > 0 here: the bin is the first one in which TP reaches what is needed.
    even = (FP + n * (needed - TP) / p) / N
    if curve.tied[i]:
        reached = even if rule == "linear" else (FP + n) / N
        return Bounded(reached, reached, reached)
    return Bounded(even, FP / N, (FP + n) / N)


def needed_positives(P: int, rule: Rule) -> float:
    """Return how many of P positives a TPR of 95 % needs; in integers, as 0.95 P may round to the wrong side."""
    return float({"first": -(-19 * P // 20), "above": 19 * P // 20 + 1, "linear": 19 * P / 20}[rule])


def threshold_at_95_tpr(curve: Curve, rule: Rule) -> np.float32 | None:
    """Return the highest rank down to which a TPR of 95 % is reached, as `fpr_at_95_tpr` has it; None without one.

    A bin whose scores are not told apart is reached as a whole: its lower edge is given.
    """
    if not curve.measurable:
        return None
    at, _, _ = figures.first_reaching(curve.p, curve.n, needed_positives(curve.positives, rule))
    rank: np.float32 = curve.lows[at]
    return rank


class Best(NamedTuple):
    """The best value of a figure over all thresholds, and the least rank that is then called anomalous."""

    value: Bounded
    threshold: np.float32


def best_f1(curve: Curve) -> Best | None:
    """Return the largest F1 over all thresholds; None without anomalous or normal pixels.

    The figure, and its lower bound, is that of the best lower edge of a bin.
    """
    if not curve.measurable:
        return None
    f1, at, most = figures.best_f1(curve.p, curve.n, curve.tied, curve.positives)
    return Best(Bounded(float(f1), float(f1), float(most)), curve.lows[at])


def best_mean_iou(curve: Curve) -> Best | None:
    """Return the largest mean of both classes' IoU over the bins' lower edges; None without both kinds of pixels.

    Its upper bound is not computed, and is given as 1 unless each bin is a tie.
    """
    if not curve.measurable:
        return None
    iou, at = figures.best_mean_iou(curve.p, curve.n, curve.positives, curve.negatives)
    return Best(Bounded(float(iou), float(iou), float(iou) if curve.tied.all() else 1.0), curve.lows[at])


class Figures(NamedTuple):
    """All figures of one pair of method and temperature; the threshold is that of a TPR of 95 %, as a rank."""

    auprc: Bounded
    fpr95: Bounded
    fpr95_threshold: np.float32
    auroc: Bounded
    best_f1: Best
    best_iou: Best


def all_figures(curve: Curve, reading: Reading) -> Figures | None:
    """Return every figure of a curve; None where there is no anomalous or no normal pixel."""
    area, rate, roc = auprc(curve, reading.auprc), fpr_at_95_tpr(curve, reading.fpr), auroc(curve)
    f1, iou_, at = best_f1(curve), best_mean_iou(curve), threshold_at_95_tpr(curve, reading.fpr)
    # All of them are None for the same curves; so many are asked for a type checker.
    if area is None or rate is None or at is None or roc is None or f1 is None or iou_ is None:
        return None
    return Figures(area, rate, at, roc, f1, iou_)


def iou(above: np.ndarray, pixels: np.ndarray) -> dict[str, float | None]:
    """Return the intersection over union of both classes at a threshold, and their mean.

    Parameters
    ----------
    above : int (2,), normal and anomalous pixels whose score reaches the threshold: they are called anomalous
    pixels : int (2,), all normal and anomalous pixels

    Returns
    -------
    normal, anomaly, mean : fractions; None where a class occurs neither in truth nor in prediction
    """
    FP, TP = (int(n) for n in above)
    N, P = (int(n) for n in pixels)
    normal = (N - FP) / (N + P - TP) if N + P - TP else None
    anomaly = TP / (P + FP) if P + FP else None
    mean = (normal + anomaly) / 2 if normal is not None and anomaly is not None else None
    return {"normal": normal, "anomaly": anomaly, "mean": mean}


def _area(value: float, lower: float, upper: float) -> Bounded:
    """Return an area and its bounds, these wider by what sums may err."""
    # The value is a rounded sum too: it is held within the bounds, and these within 0 and 1.
    low, high = max(lower - ROUNDING, 0.0), min(upper + ROUNDING, 1.0)
    return Bounded(min(max(value, low), high), low, high)

"""From two histograms to the figures: area under precision-recall and ROC, FPR at 95 % TPR, F1, IoU."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from logitpipe.stages.score.kernels import figures

TPR = 0.95
ROUNDING = 1e-9
"""More than float64 can err in a sum over all bins; the certified interval is wider by it on both sides."""


@dataclass(frozen=True)
class Curve:
    """What the figures need of a histogram: its filled bins, by falling score, as `counts.filled` finds them.

    Parameters
    ----------
    bins : int64 (n,), indices of the filled bins
    p, n : int64 (n,), anomalous and normal pixels of each
    """

    bins: np.ndarray
    p: np.ndarray
    n: np.ndarray

    @cached_property
    def positives(self) -> int:
        """All anomalous pixels."""
        return int(self.p.sum())

    @cached_property
    def negatives(self) -> int:
        """All normal pixels."""
        return int(self.n.sum())


def auprc(curve: Curve) -> tuple[float, float, float] | None:
    """Return the average precision, and the least and the greatest that any order within bins could give.

    Average precision is step-wise, sum over positives of the precision at their rank, as scikit-learn has it; ties
    share the precision behind them. Within a bin the order is unknown. The least comes from all negatives of a
    bin before its positives, each alone; the greatest from all its positives tied, before its negatives. The
    figure itself takes the order within a bin as random: positive j of p has n j/(p + 1) negatives before it.
    None where there is no anomalous or no normal pixel.
    """
    P = curve.positives
    if not P or not curve.negatives:
        return None
    expected, least, greatest = figures.precision_sums(curve.p, curve.n)
    low, high = max(least / P - ROUNDING, 0.0), min(greatest / P + ROUNDING, 1.0)
    return min(max(expected / P, low), high), low, high


def auroc(curve: Curve) -> float | None:
    """Return the area under the ROC curve, ties counted half; None without anomalous or normal pixels."""
    P, N = curve.positives, curve.negatives
    if not P or not N:
        return None
    return float(figures.roc_area(curve.p, curve.n) / P / N)


def fpr_at_95_tpr(curve: Curve, kind: Literal["first", "linear"]) -> float | None:
    """Return the false positive rate where the true positive rate reaches 0.95.

    "first" is the first point of the ROC curve with TPR >= 0.95, "linear" lies between its points. Within the bin
    where that happens, positives and negatives are taken as evenly mixed. None without anomalous or normal pixels.
    """
    P, N = curve.positives, curve.negatives
    if not P or not N:
        return None
    needed = np.ceil(TPR * P) if kind == "first" else TPR * P
    i, TP, FP = figures.first_reaching(curve.p, curve.n, float(needed))
    return float((FP + curve.n[i] * (needed - TP) / curve.p[i]) / N)


def best_f1(curve: Curve) -> tuple[float, int] | None:
    """Return the largest F1 over the bins' lower edges, and the bin; None without anomalous or normal pixels."""
    P = curve.positives
    if not P or not curve.negatives:
        return None
    f1, best = figures.best_f1(curve.p, curve.n, P)
    return float(f1), int(curve.bins[best])


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

"""Open-set figures as ISSU defines them (Vojíř et al., "Segmenting Unknown Obstacles", CVPR 2025)."""

from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.figures.closed_set import class_ious, mean_iou
from logitpipe.stages.score.figures.metrics import Curve

FPR = 0.05
"""At which ISSU (Vojíř et al. 2025) reads the TPR."""

RULES = ("tpr95", "fpr5", "best-f1")
"""Where a pixel becomes unknown: at the first TPR >= 0.95, at the first FPR >= 0.05, at the best F1."""


@dataclass(frozen=True)
class OperatingPoints:
    """Where a curve is read off; None without anomalous or normal pixels.

    Parameters
    ----------
    tpr_at_5_fpr : TPR at the first FPR >= 0.05
    ranks : for each of RULES the least rank that is unknown
    """

    tpr_at_5_fpr: float
    ranks: tuple[np.float32, ...]


@dataclass(frozen=True)
class OpenSetFigures:
    """What the classes come to where pixels above a threshold are called unknown.

    Parameters
    ----------
    open_miou, closed_miou : mean IoU of the known classes over all K of them, one that does not occur counting 0, as
        the official tool has it; open over all labelled pixels, closed over those of known classes, without threshold
    open_miou_occurring, closed_miou_occurring : mean over the classes that occur, as torchmetrics has it
    unknown_iou : IoU of what is unknown; None where there is none and none is predicted
    """

    open_miou: float
    open_miou_occurring: float | None
    closed_miou: float
    closed_miou_occurring: float | None
    unknown_iou: float | None


def operating_points(curve: Curve) -> OperatingPoints | None:
    """Return where a curve is read off; None without anomalous or normal pixels.

    Within the bin where an FPR of 5 % is reached, positives and negatives are taken as evenly mixed.
    """
    P, N = curve.positives, curve.negatives
    if not P or not N:
        return None
    TP, FP = np.cumsum(curve.p), np.cumsum(curve.n)
    needed = -(-N // 20)  # in integers, as 0.05 N may round to the wrong side
    i = int(np.searchsorted(FP, needed))
    share = 1.0 if curve.tied[i] else (needed - (FP[i] - curve.n[i])) / curve.n[i]
    at_tpr = int(np.searchsorted(TP, -(-19 * P // 20)))
    # The first of equals, which is the highest threshold: fewer pixels are called unknown.
    best = int(np.argmax(2 * TP / (P + TP + FP)))
    ranks = tuple(curve.lows[[at_tpr, i, best]])
    return OperatingPoints(float((TP[i] - curve.p[i] * (1 - share)) / P), ranks)


def open_set_figures(opened: np.ndarray, closed: np.ndarray) -> OpenSetFigures:
    """Return the figures of one threshold.

    Parameters
    ----------
    opened : int64 (K + 1, K + 1), [label, prediction], the last class unknown
    closed : int64 (K, K), of the pixels of known classes alone, where nothing is called unknown
    """
    of_open, of_closed = class_ious(opened), class_ious(closed)
    known = of_open[:-1]
    return OpenSetFigures(
        sum(iou or 0.0 for iou in known) / len(known),
        mean_iou(known),
        sum(iou or 0.0 for iou in of_closed) / len(known),
        mean_iou(of_closed),
        of_open[-1],
    )

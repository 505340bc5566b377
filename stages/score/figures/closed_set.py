"""From counts of classes to closed-set figures: IoU, accuracy, NLL, Brier score and calibration error."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.counting.classes import CONFIDENCE, HITS, MEMBERS, UNIT


class ReliabilityBin(NamedTuple):
    """One bin of confidence: how sure a network is there, and how often it is right.

    Parameters
    ----------
    pixels : that it holds
    confidence, accuracy : mean confidence and share of hits; None where it holds no pixel
    """

    pixels: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class ClosedSetFigures:
    """The figures of one store at one temperature; None where no pixel counts.

    Parameters
    ----------
    miou : mean IoU of the classes that occur, in truth or in prediction
    accuracy : share of pixels whose class is predicted
    nll : mean of -ln p of the pixel's class, in nats
    brier : mean of sum over classes of (p - 1 where it is the pixel's class, else p)**2, from 0 to 2 (Brier 1950)
    ece : expected calibration error, fractions (Guo et al. 2017): by bins of the confidence, the mean distance of the
        share of hits from the mean confidence, weighted by pixels
    iou : of each class; None for one that does not occur
    pixels : how many count
    reliability : the bins that `ece` is computed from, by rising confidence
    """

    miou: float | None
    accuracy: float | None
    nll: float | None
    brier: float | None
    ece: float | None
    iou: tuple[float | None, ...]
    pixels: int
    reliability: tuple[ReliabilityBin, ...]


def class_ious(confusion: np.ndarray) -> tuple[float | None, ...]:
    """Return the IoU of each class; None for one that occurs neither in truth nor in prediction.

    Parameters
    ----------
    confusion : int (K, K), [label, prediction]
    """
    hits = np.diagonal(confusion)
    # Hits lie in a row and in a column, and count once.
    unions = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return tuple(int(hit) / int(union) if union else None for hit, union in zip(hits, unions, strict=True))


def mean_iou(ious: tuple[float | None, ...]) -> float | None:
    """Return the mean over the classes that occur."""
    known = [iou for iou in ious if iou is not None]
    return sum(known) / len(known) if known else None


def calibration_error(bins: np.ndarray) -> float | None:
    """Return the expected calibration error of int64 (bins, 3), hits, pixels and the sum of confidence in UNIT."""
    pixels = int(bins[:, MEMBERS].sum())
    if not pixels:
        return None
    return float(np.abs(bins[:, HITS] - bins[:, CONFIDENCE] * UNIT).sum() / pixels)


def reliability(bins: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Return the bins as a reliability diagram shows them; the parameter is as for `calibration_error`."""
    found = []
    for each in bins:
        hits, pixels, confidence = int(each[HITS]), int(each[MEMBERS]), float(each[CONFIDENCE]) * UNIT
        found.append(
            ReliabilityBin(pixels, confidence / pixels, hits / pixels) if pixels else ReliabilityBin(0, None, None)
        )
    return tuple(found)


def closed_set_figures(confusion: np.ndarray, nll: float, brier: float, bins: np.ndarray) -> ClosedSetFigures:
    """Return the figures of one temperature.

    Parameters
    ----------
    confusion : int64 (K, K), [label, prediction]
    nll, brier : sums over pixels
    bins : as for `calibration_error`
    """
    pixels, ious = int(confusion.sum()), class_ious(confusion)
    if not pixels:
        return ClosedSetFigures(None, None, None, None, None, ious, 0, reliability(bins))
    accuracy = int(np.trace(confusion)) / pixels
    return ClosedSetFigures(
        mean_iou(ious),
        accuracy,
        nll / pixels,
        brier / pixels,
        calibration_error(bins),
        ious,
        pixels,
        reliability(bins),
    )

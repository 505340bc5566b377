"""Exact figures: all scores of a pair collected and sorted, ties as ties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.cache import PipeError
from logitpipe.stages.score.figures.metrics import Best, Bounded, Figures, needed_positives
from logitpipe.stages.score.figures.reading import Reading, Rule
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, NORMAL
from logitpipe.stages.score.kernels.curves.ordering import Walked, divide, merge_sorted, start, walk_down
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.streams import in_parallel

SCORE_BYTES = np.dtype(np.float32).itemsize


@dataclass
class Scores:
    """Scores of single pixels (see `statistics.Total`).

    Parameters
    ----------
    by_pair : for each pair a list of float32 arrays; where normal pixels are collected too, theirs stand behind
    images : number of images added
    """

    by_pair: list[list[np.ndarray]]
    images: int = 0

    def add(self, other: "Scores") -> None:
        """Add those of other images."""
        for mine, theirs in zip(self.by_pair, other.by_pair, strict=True):
            mine += theirs
        self.images += other.images

    def take(self, pair: int, scores: np.ndarray, labels: np.ndarray) -> None:
        """Add copies of the scores of one pair, both classes apart."""
        normal, anomalous = (int(np.count_nonzero(labels == label)) for label in (NORMAL, ANOMALY))
        parts = [np.empty(size + 1, np.float32) for size in (normal, anomalous)]
        divide(scores, labels, *parts)
        self.by_pair[pair].append(parts[1][:anomalous])
        self.by_pair[len(self.by_pair) // 2 + pair].append(parts[0][:normal])

    def to_arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return all scores, one pair after the other, and how many there are of each; names begin with a prefix."""
        whole = [_joined(parts) for parts in self.by_pair]
        sizes = np.array([each.size for each in whole], np.int64)
        arrays = {"scores": _joined(whole), "sizes": sizes, "images": np.array(self.images)}
        return {f"{prefix}{name}": array for name, array in arrays.items()}


def no_scores(plan: Plan) -> Scores:
    """Return scores of both classes, of no image."""
    return Scores([[] for _ in range(2 * len(plan.pairs))])


def ordered_figures(scores: Scores, reading: Reading, pixels: tuple[int, int], workers: int) -> list[Figures]:
    """Return the figures of each pair whose scores of both classes were collected, and leave them empty.

    Raises
    ------
    PipeError
        They are not as many as there are pixels: normal and anomalous ones.
    """
    (N, P), pairs = pixels, len(scores.by_pair) // 2

    def figures(pair: int) -> Figures:
        """Return the figures of one pair, whose scores are given up."""
        return sorted_figures(taken(scores.by_pair[pair], P), taken(scores.by_pair[pairs + pair], N), reading)

    return in_parallel(figures, range(pairs), workers)


def sorted_figures(anomalous: np.ndarray, normal: np.ndarray, reading: Reading) -> Figures:
    """Return the figures of scores of both classes: float32 (P,) and (N,), at least one of each; both are sorted."""
    anomalous.sort()
    normal.sort()
    P, N = anomalous.size, normal.size
    p, n, ranks = (np.empty(2 * P + 1, dtype) for dtype in (np.int32, np.int32, np.float32))
    m = merge_sorted(anomalous, normal, p, n, ranks)
    walked, needed = start(), needed_positives(P, reading.fpr)
    walk_down(p[:m], n[:m], ranks[:m], needed, reading.auprc == "trapezoid", walked)
    return figures_of(walked, N, P, reading.fpr)


def figures_of(walked: Walked, N: int, P: int, rule: Rule) -> Figures:
    """Return the figures that a walk down all scores has found, of N normal and P anomalous pixels."""
    f1, at_f1, iou, at_iou = (float(value) for value in walked.best)
    return Figures(
        auprc=_certain(walked.sums[0] / P),
        auroc=_certain(walked.sums[1] / P / N),
        fpr95=_certain(_fpr(walked, rule, needed_positives(P, rule)) / N),
        fpr95_threshold=np.float32(walked.rank[0]),
        best_f1=Best(_certain(f1), np.float32(at_f1)),
        best_iou=Best(_certain(iou), np.float32(at_iou)),
    )


def _fpr(walked: Walked, rule: Rule, needed: float) -> float:
    """Return the FP, perhaps between two points, where the needed TP is reached."""
    (FP, TP), (FP_after, TP_after) = walked.before, walked.reached
    if rule != "linear":
        return float(FP_after)
    return float(FP) if needed == TP else float(FP + (FP_after - FP) * (needed - TP) / (TP_after - TP))


def _certain(value: float) -> Bounded:
    return Bounded(float(value), float(value), float(value))


def taken(parts: list[np.ndarray], pixels: int) -> np.ndarray:
    """Return collected scores and give up the parts; PipeError where they are not of so many pixels."""
    scores = _joined(parts)
    parts.clear()
    # Other scores than the first walk counted would give wrong figures without an error.
    if scores.size != pixels:
        raise PipeError("other scores were collected than were counted", "resolve-none")
    return scores


def scores_from(arrays: Mapping[str, np.ndarray], count: int, prefix: str = "") -> Scores:
    """Return the total of `Scores.to_arrays`, of so many lists."""
    sizes, scores, images = (arrays[f"{prefix}{name}"] for name in ("sizes", "scores", "images"))
    if sizes.size != count or sizes.sum() != scores.size:
        raise ValueError(f"scores of {count} pairs were expected, of {sizes.size} were found")
    return Scores([[part] for part in np.split(scores, np.cumsum(sizes)[:-1])], int(images))


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.float32)

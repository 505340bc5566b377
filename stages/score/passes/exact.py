"""The figures from every single score, sorted on disk: slow, by NumPy alone, and a check on the streaming ones.

The scores of a pair lie in two files, those of normal and those of anomalous pixels. Each image is a sorted run of
either. The scores are then gone through in ranges, from the highest to the lowest, each small enough for memory.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logitpipe.cache import PipeError, Store
from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, NORMAL
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.picture import Picture, read_picture
from logitpipe.stages.score.plan import Plan

RANGE = 1 << 22
"""About how many scores are held in memory at a time."""

SAMPLES = 1024
"""Scores of each run among which the limits of ranges are chosen."""

CLASSES = (NORMAL, ANOMALY)

Points = tuple[np.ndarray, np.ndarray]
"""Normal and anomalous pixels of each distinct score, int64 (n,), by falling score."""


def exact_rows(
    store: Store, plan: Plan, images: Sequence[int], rows: Sequence[Row], advance: Callable[[], None]
) -> list[Row]:
    """Return rows whose AuPRC, FPR95, AUROC and F1 come from every single score, where nothing is left open.

    The store is read once for each combination of temperatures, all scores of which lie in the folder for temporary
    files.

    Parameters
    ----------
    images : indices of the images that `rows` were computed from
    rows : of the streaming path, in the order of the plan's pairs
    advance : called once for each image and combination of temperatures

    Raises
    ------
    PipeError
        The folder for temporary files has too little room.
    """
    found = dict(enumerate(rows))
    truth = GroundTruth(store, plan.protocol, images)
    for temperatures in dict.fromkeys(pair.temperatures for pair in plan.pairs):
        indices = [i for i, pair in enumerate(plan.pairs) if pair.temperatures == temperatures]
        part = replace(plan, pairs=tuple(plan.pairs[i] for i in indices))
        if plan.protocol.pooling == "images":
            figures = _means(store, part, truth, images, advance)
        else:
            figures = _pooled(store, part, truth, images, advance, sum(rows[i].pixels for i in indices))
        found |= {i: _with_figures(rows[i], each) for i, each in zip(indices, figures, strict=True) if each}
    return list(found.values())


class Runs:
    """Scores in a file, in sorted runs.

    Parameters
    ----------
    path : the file, which does not exist yet
    """

    def __init__(self, path: Path) -> None:
        self.path, self.sizes, self.samples = path, list[int](), list[np.ndarray]()

    def append(self, scores: np.ndarray) -> None:
        """Write one more run: float32 (n,), in any order."""
        run = np.sort(scores)
        with self.path.open("ab") as file:
            file.write(run.tobytes())
        self.sizes.append(run.size)
        # Evenly by rank: between two neighbours lies no more than about a thousandth of the run.
        self.samples.append(run[:: max(1, run.size // SAMPLES)])

    @property
    def size(self) -> int:
        """How many scores there are."""
        return sum(self.sizes)

    def between(self, low: np.float32, high: np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct scores with low <= score < high, rising, and how often each occurs: int64 (n,)."""
        parts, start = list[tuple[np.ndarray, np.ndarray]](), 0
        for size in self.sizes:
            if size:
                # One run is mapped at a time: address space may be limited too.
                run = np.memmap(self.path, np.float32, "r", start, (size,))
                first, last = np.searchsorted(run, [low, high])
                parts.append(np.unique(run[first:last], return_counts=True))
            start += size * run_bytes(1)
        if not parts:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        # Counted run by run before they are joined: ties, however many, are one number each.
        scores, counts = map(np.concatenate, zip(*parts, strict=True))
        distinct, where = np.unique(scores, return_inverse=True)
        return distinct, np.bincount(where, counts, distinct.size).astype(np.int64)


def run_bytes(scores: int) -> int:
    """Return how many bytes of a file so many scores take."""
    return scores * np.dtype(np.float32).itemsize


def points_of(both: Sequence[Runs]) -> Iterator[Points]:
    """Yield the points of a pair, range by range, from the highest score to the lowest.

    Parameters
    ----------
    both : normal and anomalous scores
    """
    samples = np.unique(np.concatenate([sample for runs in both for sample in runs.samples]))
    ranges = -(-sum(runs.size for runs in both) // RANGE)
    cuts = np.unique(samples[(np.arange(1, ranges) * samples.size) // ranges]) if ranges > 1 else samples[:0]
    # NaN sorts behind infinity, which a function of one's own may return.
    edges = np.concatenate([[-np.inf], cuts, [np.nan]]).astype(np.float32)
    for low, high in reversed(list(pairwise(edges))):
        yield joined([runs.between(low, high) for runs in both])


def joined(both: Sequence[tuple[np.ndarray, np.ndarray]]) -> Points:
    """Return the points of distinct scores of both classes and their counts."""
    scores = np.unique(np.concatenate([scores for scores, _ in both]))
    counts = np.zeros((len(CLASSES), scores.size), np.int64)
    for row, (own, number) in zip(counts, both, strict=True):
        row[np.searchsorted(scores, own)] = number
    normal, anomalous = counts[:, ::-1]
    return normal, anomalous


class Found(NamedTuple):
    """Figures of one pair, by their names in a row."""

    auprc: float
    fpr95: float
    auroc: float
    best_f1: float


def figures_of(points: Iterator[Points], N: int, P: int, reading: Reading) -> Found:
    """Return figures from the points of a curve, N normal and P anomalous pixels in all, neither 0."""
    TP, FP, start, area, ordered, best = 0, 0, 1.0, 0.0, 0.0, 0.0
    curve = list[np.ndarray]()
    for n, p in points:
        if not n.size:
            continue
        tp, fp = TP + np.cumsum(p), FP + np.cumsum(n)
        precision = tp / (tp + fp)
        before = np.concatenate([[start], precision[:-1]])
        area += float((p * (precision if reading.auprc == "step" else (precision + before) / 2)).sum())
        ordered += float((n * (tp - p / 2)).sum())
        best = max(best, float((2 * tp / (P + tp + fp)).max()))
        # Of each range a few points at most, so that the curve of billions of pixels fits memory.
        curve.append(_near(np.array([np.append(TP, tp), np.append(FP, fp)]), P))
        TP, FP, start = int(tp[-1]), int(fp[-1]), float(precision[-1])
    return Found(area / P, _fpr(np.concatenate(curve, axis=1), N, P, reading.fpr), ordered / N / P, best)


def _near(points: np.ndarray, P: int) -> np.ndarray:
    """Return those of (TP, FP), int64 (2, n), that an FPR at 95 % TPR can depend on."""
    # The points on either side of 19/20 P, all of equal TP; whole numbers, as 0.95 P may be rounded wrongly.
    twentieths = 20 * points[0] - 19 * P
    kept = twentieths == 0
    kept[max(0, int(np.searchsorted(twentieths, 0)) - 1)] = True
    kept[min(kept.size - 1, int(np.searchsorted(twentieths, 0, side="right")))] = True
    return points[:, kept]


def _fpr(points: np.ndarray, N: int, P: int, rule: str) -> float:
    """Return the FPR at 95 % TPR, given (TP, FP) of all points around it."""
    TP, FP = points
    if rule == "linear":
        return float(np.interp(19 * P / 20, TP, FP / N))
    reached = 20 * TP > 19 * P if rule == "above" else 20 * TP >= 19 * P
    return float(FP[np.argmax(reached)] / N)


def _pooled(
    store: Store, plan: Plan, truth: GroundTruth, images: Sequence[int], advance: Callable[[], None], scores: int
) -> list[Found | None]:
    """Return the figures of pairs over all pixels; None without pixels of both classes."""
    folder = Path(tempfile.gettempdir())
    # Refused before the first image: a full disk would show itself after hours, and stop other programs too.
    needed, free = run_bytes(scores), shutil.disk_usage(folder).free
    if needed > free:
        raise PipeError(
            f"{folder}: {needed} bytes are needed for the scores of {len(plan.pairs)} pairs, and {free} are free",
            "exact-room",
        )
    with tempfile.TemporaryDirectory(prefix="logitpipe-exact-", dir=folder) as path:
        files = [[Runs(Path(path) / f"{pair}-{label}") for label in CLASSES] for pair in range(len(plan.pairs))]
        for image in images:
            if picture := read_picture(store, truth, image):
                _add(plan, picture, files, folder)
            advance()
        return [
            figures_of(points_of(both), both[0].size, both[1].size, plan.protocol.reading)
            if all(runs.size for runs in both)
            else None
            for both in files
        ]


def _add(plan: Plan, picture: Picture, files: Sequence[Sequence[Runs]], folder: Path) -> None:
    """Add an image's scores to the files of each pair."""
    try:
        for pair, scores in picture.score_maps(plan, range(len(plan.pairs))):
            for label, runs in zip(CLASSES, files[pair], strict=True):
                runs.append(scores[picture.labels == label])
    except OSError as error:  # others may have filled the disk meanwhile
        raise PipeError(f"{folder}: scores cannot be written ({error.strerror})", "exact-room") from error


def _means(
    store: Store, plan: Plan, truth: GroundTruth, images: Sequence[int], advance: Callable[[], None]
) -> list[Found | None]:
    """Return the mean figures of pairs over those images that have both classes."""
    found: list[list[Found]] = [[] for _ in plan.pairs]
    for image in images:
        picture = read_picture(store, truth, image)
        if picture and all((picture.labels == label).any() for label in CLASSES):
            for pair, scores in picture.score_maps(plan, range(len(plan.pairs))):
                own = [np.unique(scores[picture.labels == label], return_counts=True) for label in CLASSES]
                N, P = (int(counts.sum()) for _, counts in own)
                found[pair].append(figures_of(iter([joined(own)]), N, P, plan.protocol.reading))
        advance()
    return [Found(*np.mean(own, axis=0).tolist()) if own else None for own in found]


def _with_figures(row: Row, found: Found) -> Row:
    figures: dict[str, Any] = found._asdict()
    bounds: dict[str, Any] = {f"{name}_{end}": value for name, value in figures.items() for end in ("lower", "upper")}
    return replace(row, **figures, **bounds)

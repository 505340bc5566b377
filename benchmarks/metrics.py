"""From scores to figures: histograms beside scikit-learn and torchmetrics."""

from functools import partial

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import plain
from benchmarks.sheet import Sheet
from benchmarks.timing import median, one_core, ratio, take_turns
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.kernels.counting.bins import Bins, count
from logitpipe.stages.score.kernels.counting.counts import Counts, filled

PIXELS = 4_000_000
REDUCED = 400_000
THRESHOLDS = 200
BINS = Bins(14, negative=(-12, 12), positive=(-12, 12))
ROUNDS = 3
Figures = tuple[float, float, float]


def made_scores(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 scores and uint8 labels, one anomalous pixel in twenty, its scores higher by 1.5."""
    noise = np.random.default_rng(0)
    labels = (noise.random(pixels) < 0.05).astype(np.uint8)
    return (noise.standard_normal(pixels) + 1.5 * labels).astype(np.float32), labels


def by_histogram(scores: np.ndarray, labels: np.ndarray) -> Figures:
    """Count and compute, as `pipe score` does."""
    n = 2 * BINS.count + 1
    counts = Counts(np.zeros(n, np.uint8), np.zeros(n, np.uint32))
    count(scores, labels, BINS.layout, counts)
    bins, p, negatives = filled(counts, BINS.count)
    curve = metrics.Curve(bins, p, negatives, p + negatives == 1, BINS.lower_edges(bins))
    area, fpr, roc = metrics.auprc(curve), metrics.fpr_at_95_tpr(curve, "first"), metrics.auroc(curve)
    assert area is not None and fpr is not None and roc is not None
    return area.value, fpr.value, roc.value


def by_scikit_learn(scores: np.ndarray, labels: np.ndarray) -> Figures:
    """Sort, twice."""
    return plain.figures([scores], [labels])


def by_torchmetrics(scores: np.ndarray, labels: np.ndarray) -> Figures:
    """Bin at thresholds that lie evenly between 0 and 1, where a sigmoid brings the scores."""
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_roc

    x, y = torch.from_numpy(scores).sigmoid(), torch.from_numpy(labels.astype(np.int64))
    fpr, tpr, _ = binary_roc(x, y, thresholds=THRESHOLDS)
    area = binary_average_precision(x, y, thresholds=THRESHOLDS)
    return float(area), float(fpr[tpr >= 0.95][0]), float(binary_auroc(x, y, thresholds=THRESHOLDS))


def measure(sheet: Sheet, title: str, ways: dict[str, object], scores: np.ndarray, labels: np.ndarray) -> None:
    """Time the ways side by side, and hold their figures against scikit-learn's."""
    exact, found = by_scikit_learn(scores, labels), {}

    def run(name: str) -> None:
        found[name] = ways[name](scores, labels)  # type: ignore[operator]

    with one_core(), threadpool_limits(1):
        seconds = take_turns({name: partial(run, name) for name in ways}, ROUNDS)
    lines = [
        [name, median(seconds, name), median(seconds, name) / scores.size * 1e9, ratio(seconds, name, "histogram")]
        + [f"{abs(a - b):.1e}" for a, b in zip(found[name], exact, strict=True)]
        for name in ways
    ]
    header = ("", "seconds", "ns per pixel", "over histogram", "error of AuPRC", "of FPR95", "of AUROC")
    sheet.table(f"{title}, one core", header, lines)


def main() -> None:
    """Measure, print and save."""
    sheet = Sheet("metrics")
    ways = {"histogram": by_histogram, "scikit-learn": by_scikit_learn}
    measure(sheet, f"{PIXELS} scores", ways, *made_scores(PIXELS))  # type: ignore[arg-type]
    reduced = ways | {f"torchmetrics, {THRESHOLDS} thresholds": by_torchmetrics}
    measure(sheet, f"{REDUCED} scores", reduced, *made_scores(REDUCED))  # type: ignore[arg-type]
    sheet.save()


if __name__ == "__main__":
    main()

"""Exact figures: the scores of bins whose inner order matters are collected and sorted.

A first walk over a store has counted scores in bins (histograms.py). Where a bin holds several pixels, among them an
anomalous one, their order is open. A second walk collects the scores of these bins alone. What follows from them is
exact: it is what a sort of all scores would give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from logitpipe.cache import PipeError
from logitpipe.stages.score.figures.metrics import Best, Bounded, Curve, Figures, needed_positives
from logitpipe.stages.score.figures.reading import Reading, Rule
from logitpipe.stages.score.kernels.counting import Bins
from logitpipe.stages.score.kernels.ordering import Walked, collect, start, walk_down
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.streams import in_parallel

SCORE_BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class Stretch:
    """Some consecutive bins of a pair's curve, few enough for their scores to fit memory.

    Parameters
    ----------
    curve : those bins, by falling score
    bins : how float32 is divided
    """

    curve: Curve
    bins: Bins

    @cached_property
    def collected(self) -> np.ndarray:
        """Bins whose inner order matters, bool (n,): those with an anomalous pixel that are no tie."""
        return (self.curve.p > 0) & ~self.curve.tied

    @cached_property
    def pixels(self) -> tuple[int, int]:
        """How many anomalous and normal scores are collected."""
        return int(self.curve.p[self.collected].sum()), int(self.curve.n[self.collected].sum())

    @cached_property
    def first(self) -> int:
        """The lowest bin."""
        return int(self.curve.bins[-1])

    @cached_property
    def wanted(self) -> np.ndarray:
        """The collected bins as the kernel looks them up: bool, from the lowest bin of the stretch on."""
        wanted = np.zeros(int(self.curve.bins[0]) - self.first + 1, bool)
        wanted[self.curve.bins - self.first] = self.collected
        return wanted

    def __getstate__(self) -> dict[str, object]:
        """Pickle what a walk needs, without the curve: on another machine scores are collected, and no more."""
        return {"bins": self.bins, "first": self.first, "wanted": self.wanted, "pixels": self.pixels}


def stretches(curve: Curve, bins: Bins, most_bytes: int) -> list[Stretch]:
    """Divide a curve, from the highest score to the lowest, so that the scores of each part take so many bytes."""
    collected = Stretch(curve, bins).collected
    filled = np.cumsum(np.where(collected, curve.p + curve.n, 0)) * SCORE_BYTES
    part = filled // max(1, most_bytes)
    # A bin is never divided, so a part may exceed the bytes asked for by up to one bin.
    cuts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), curve.bins.size]
    columns = (curve.bins, curve.p, curve.n, curve.tied, curve.lows)
    return [Stretch(Curve(*(column[start:stop] for column in columns)), bins) for start, stop in pairwise(cuts)]


@dataclass
class Scores:
    """Collected scores of some stretches (see `statistics.Total`).

    Parameters
    ----------
    positives, negatives : for each stretch a list of float32 arrays, one for each image
    images : number of images added
    """

    positives: list[list[np.ndarray]]
    negatives: list[list[np.ndarray]]
    images: int = 0

    def add(self, other: "Scores") -> None:
        """Add those of other images."""
        for mine, theirs in ((self.positives, other.positives), (self.negatives, other.negatives)):
            for parts, more in zip(mine, theirs, strict=True):
                parts += more
        self.images += other.images

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all scores, one stretch after the other, with the number of scores of each."""
        found: dict[str, np.ndarray] = {"images": np.array(self.images)}
        for name, of_stretches in (("positives", self.positives), ("negatives", self.negatives)):
            whole = [_joined(parts) for parts in of_stretches]
            found |= {name: _joined(whole), f"{name}_sizes": np.array([each.size for each in whole], np.int64)}
        return found


@dataclass(frozen=True)
class Ordered:
    """The scores of stretches of curves, in order (see `statistics.Statistic`).

    Parameters
    ----------
    plan : one pair for each stretch
    parts : a stretch of each pair's curve
    """

    plan: Plan
    parts: Sequence[Stretch]

    @cached_property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return sum(sum(part.pixels) for part in self.parts) * SCORE_BYTES

    def zero(self) -> Scores:
        """See `Statistic`."""
        return Scores([[] for _ in self.parts], [[] for _ in self.parts])

    def of_image(self, picture: Picture, total: Scores, threads: int = 1) -> None:
        """Collect an image's scores; threads share it by temperatures."""
        labels = picture.labels.reshape(-1)

        def collect_pairs(pairs: Sequence[int]) -> None:
            positives, negatives = np.empty((2, labels.size), np.float32)
            for pair, scores in picture.score_maps(self.plan, pairs):
                part, flat = self.parts[pair], np.ascontiguousarray(scores).reshape(-1)
                P, N = collect(flat, labels, part.bins.layout, part.first, part.wanted, positives, negatives)
                # Copied, as the buffers are written over for the next pair.
                total.positives[pair].append(positives[:P].copy())
                total.negatives[pair].append(negatives[:N].copy())

        in_parallel(collect_pairs, split(self.plan, threads), threads)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Scores:
        """See `Statistic`."""
        total = self.zero()
        for name, of_stretches in (("positives", total.positives), ("negatives", total.negatives)):
            sizes = arrays[f"{name}_sizes"]
            if sizes.size != len(self.parts) or sizes.sum() != arrays[name].size:
                raise ValueError(f"scores of {len(self.parts)} stretches were expected, of {sizes.size} were found")
            for parts, scores in zip(of_stretches, np.split(arrays[name], np.cumsum(sizes)[:-1]), strict=True):
                parts.append(scores)
        total.images = int(arrays["images"])
        return total

    def finish(self, total: Scores) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the anomalous and the normal scores of each stretch, by rising score, and leave the total empty.

        Raises
        ------
        PipeError
            They are not as many as the bins of a stretch hold.
        """
        found = [(_sorted(P), _sorted(N)) for P, N in zip(total.positives, total.negatives, strict=True)]
        # Other scores than the first walk counted would give wrong figures without an error.
        if any((P.size, N.size) != part.pixels for (P, N), part in zip(found, self.parts, strict=True)):
            raise PipeError(
                "other scores were collected than were counted: processors of different kinds round differently",
                "resolve-none",
            )
        return found


class Descent:
    """A walk down all scores of one pair, stretch by stretch.

    Parameters
    ----------
    curve : all of its bins
    reading : how figures are read off it
    """

    def __init__(self, curve: Curve, reading: Reading) -> None:
        self.curve, self.reading, self.walked = curve, reading, start()

    def go_on(self, part: Stretch, positives: np.ndarray, negatives: np.ndarray) -> None:
        """Pass the next stretch, with its scores by rising score."""
        bins, totals = part.curve, (self.curve.positives, self.curve.negatives)
        columns = (bins.p, bins.n, bins.lows, part.collected)
        needed, trapezoid = needed_positives(self.curve, self.reading.fpr), self.reading.auprc == "trapezoid"
        walk_down(columns, positives, negatives, totals, needed, trapezoid, self.walked)

    def figures(self) -> Figures:
        """Return what was found, once all stretches are passed."""
        walked, P, N, rule = self.walked, self.curve.positives, self.curve.negatives, self.reading.fpr
        assert walked.passed.tolist() == [N, P], "scores are missing"
        f1, at_f1, iou, at_iou = (float(value) for value in walked.best)
        return Figures(
            auprc=_certain(walked.sums[0] / P),
            auroc=_certain(walked.sums[1] / P / N),
            fpr95=_certain(_fpr(walked, rule, needed_positives(self.curve, rule)) / N),
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


def _sorted(parts: list[np.ndarray]) -> np.ndarray:
    """Return all scores by rising score; the parts are given up on the way, so that they are not held twice."""
    whole = _joined(parts)
    parts.clear()
    whole.sort()
    return whole


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.float32)

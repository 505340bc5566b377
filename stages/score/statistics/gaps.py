"""Exact figures: the order of all anomalous scores, and how many normal pixels lie between them.

For pairs of which not all scores fit memory (ordered.py): a second walk over a store collects those of anomalous
pixels, which are few, and a third one counts normal pixels between and at these. What follows is exact: it is what a
sort of all scores would give, ties as ties.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from logitpipe.stages.score.figures.metrics import Curve, Figures, needed_positives
from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED, NORMAL
from logitpipe.stages.score.kernels.counting.gaps import count_gaps, first_edges
from logitpipe.stages.score.kernels.curves.ordering import start, walk_down
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.score.statistics.ordered import SCORE_BYTES, Scores, figures_of, scores_from, taken
from logitpipe.stages.streams import in_parallel

PIXEL_BYTES = 3 * SCORE_BYTES
"""Of an anomalous pixel and pair: its score, and two counts of normal pixels."""


@dataclass(frozen=True)
class Positives:
    """The scores of anomalous pixels (see `statistics.Statistic`).

    Parameters
    ----------
    plan : its pairs
    pixels : how many anomalous pixels there are in all
    """

    plan: Plan
    pixels: int

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return self.pixels * len(self.plan.pairs) * np.dtype(np.float32).itemsize

    def zero(self) -> Scores:
        """See `Statistic`."""
        return Scores([[] for _ in self.plan.pairs])

    def of_image(self, picture: Picture, total: Scores, threads: int = 1) -> None:
        """Collect an image's scores; threads share it by temperatures."""
        # Normal pixels count as ignored: blocks without an anomalous one are passed over.
        labels = np.where(picture.labels == ANOMALY, np.uint8(ANOMALY), np.uint8(IGNORED))

        def collect(pairs: Sequence[int]) -> None:
            for pair, scores, of_scores in picture.score_bands(self.plan, pairs, labels):
                total.by_pair[pair].append(scores[of_scores == ANOMALY])

        in_parallel(collect, split(self.plan, threads), threads)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Scores:
        """See `Statistic`."""
        return scores_from(arrays, len(self.plan.pairs))

    def finish(self, total: Scores) -> list["Edges"]:
        """Return the distinct scores of each pair, and leave the total empty.

        Raises
        ------
        PipeError
            They are not as many as there are anomalous pixels.
        """
        return [edges_of(taken(parts, self.pixels)) for parts in total.by_pair]


@dataclass(frozen=True)
class Edges:
    """Distinct scores of anomalous pixels, float32 (m,) rising, and how many pixels have each, int64 (m,)."""

    scores: np.ndarray
    pixels: np.ndarray


@dataclass
class Between:
    """Normal pixels between and at edges (see `statistics.Total`).

    Parameters
    ----------
    gaps : of each pair, uint32 (2 m + 1,) of `kernels.counting.gaps.count_gaps`
    images : number of images added
    """

    gaps: list[np.ndarray] = field(default_factory=list)
    images: int = 0

    def add(self, other: "Between") -> None:
        """Add those of other images."""
        for mine, theirs in zip(self.gaps, other.gaps, strict=True):
            mine += theirs
        self.images += other.images

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all counts, one pair after the other."""
        return {"gaps": np.concatenate(self.gaps), "images": np.array(self.images)}


@dataclass(frozen=True)
class Gaps:
    """Normal pixels between the scores of anomalous ones (see `statistics.Statistic`).

    Parameters
    ----------
    plan : its pairs
    edges : of each pair
    """

    plan: Plan
    edges: Sequence[Edges]

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return sum(2 * each.scores.nbytes for each in self.edges)

    @cached_property
    def first(self) -> list[np.ndarray]:
        """Where the edges of each bin begin, for each pair."""
        return [
            first_edges(each.scores, self.plan.bins(pair).layout)
            for each, pair in zip(self.edges, self.plan.pairs, strict=True)
        ]

    def zero(self) -> Between:
        """See `Statistic`."""
        return Between([np.zeros(2 * each.scores.size + 1, np.uint32) for each in self.edges])

    def of_image(self, picture: Picture, total: Between, threads: int = 1) -> None:
        """Count an image's normal pixels; threads share it by temperatures."""
        first = self.first
        labels = np.where(picture.labels == NORMAL, np.uint8(NORMAL), np.uint8(IGNORED))

        def count(pairs: Sequence[int]) -> None:
            for pair, scores, of_scores in picture.score_bands(self.plan, pairs, labels):
                layout = self.plan.bins(self.plan.pairs[pair]).layout
                count_gaps(scores, of_scores, layout, first[pair], self.edges[pair].scores, total.gaps[pair])

        in_parallel(count, split(self.plan, threads), threads)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Between:
        """See `Statistic`."""
        sizes = [gaps.size for gaps in self.zero().gaps]
        if arrays["gaps"].size != sum(sizes):
            raise ValueError(f"{sum(sizes)} counts were expected, {arrays['gaps'].size} were found")
        parts = np.split(arrays["gaps"].astype(np.uint32), np.cumsum(sizes)[:-1])
        return Between(list(parts), int(arrays["images"]))

    def finish(self, total: Between) -> list[Figures]:
        """Return the figures of each pair."""
        reading = self.plan.protocol.reading
        return [exact_figures(each, gaps, reading) for each, gaps in zip(self.edges, total.gaps, strict=True)]


def exact_figures(edges: Edges, gaps: np.ndarray, reading: Reading) -> Figures:
    """Return the figures of all scores in order.

    Parameters
    ----------
    gaps : of `kernels.counting.gaps.count_gaps`
    """
    m = edges.scores.size
    # By falling score: above the highest edge, at it, below it, ...; what is below the lowest edge comes last.
    n, p, scores = gaps[::-1].astype(np.int64), np.zeros(2 * m + 1, np.int64), np.full(2 * m + 1, -np.inf, np.float32)
    p[1::2], scores[1::2] = edges.pixels[::-1], edges.scores[::-1]
    filled = p + n > 0
    # That the pixels of a gap have several scores changes nothing: no positive lies between them.
    curve = Curve(np.flatnonzero(filled), p[filled], n[filled], np.ones(int(filled.sum()), bool), scores[filled])
    walked, needed = start(), needed_positives(curve.positives, reading.fpr)
    walk_down(curve.p, curve.n, curve.lows, needed, reading.auprc == "trapezoid", walked)
    return figures_of(walked, curve.negatives, curve.positives, reading.fpr)


def edges_of(scores: np.ndarray) -> Edges:
    """Return the distinct scores of anomalous pixels: float32 (n,), in any order."""
    # -0 and 0 are one score, and have one bin.
    return Edges(*np.unique(scores + np.float32(0), return_counts=True))

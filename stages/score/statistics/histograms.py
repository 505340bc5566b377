"""Histograms of scores: for each pair of method and temperature, how many pixels of each class a bin holds."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from logitpipe.cache import PipeError, Store
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.curves import Sketch, sketch
from logitpipe.stages.score.figures.image_counts import image_counts
from logitpipe.stages.score.figures.laying import Density, density
from logitpipe.stages.score.figures.metrics import Figures, all_figures
from logitpipe.stages.score.figures.rows import Row, make_row
from logitpipe.stages.score.kernels.counting.bins import count, count_above
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kernels.counting.laid import Laid, count_laid
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.score.statistics.ordered import no_scores, ordered_figures
from logitpipe.stages.score.statistics.single_images import image_values, mean_figures, mean_ious
from logitpipe.stages.score.statistics.tally import PAIR_BYTES, Tally, tally_from_arrays
from logitpipe.stages.streams import in_parallel

BIN_BYTES = 3
"""Of a laid bin, about: a byte for each class, and whole counts where many pixels lie."""


@dataclass(frozen=True)
class Histograms:
    """Counts of a plan's pairs, and the figures that follow from them (see `statistics.Statistic`).

    Parameters
    ----------
    store : whose images are counted
    plan : its pairs
    workers : threads that compute the figures
    sketched : whether curves and distributions are wanted beside the figures
    kept : from the rows of all pairs, the indices of those whose densities are wanted too
    per_image : whether histograms of single images are wanted
    ordered : whether all scores are collected too, so that the figures are those of their order
    laid : the bins of each pair; None for those of its scale
    """

    store: Store
    plan: Plan
    workers: int = 1
    sketched: bool = False
    kept: Callable[[Sequence[Row]], Collection[int]] = lambda _rows: ()
    per_image: bool = False
    ordered: bool = False
    laid: tuple[Laid, ...] | None = None

    @cached_property
    def expected_bytes(self) -> int:
        """See `Statistic`; scores are not each total's own, as each is collected by one of them."""
        if self.laid:
            return sum(BIN_BYTES * bins.count for bins in self.laid)
        return len(self.plan.pairs) * PAIR_BYTES

    def zero(self) -> Tally:
        """See `Statistic`."""
        tally = Tally.zero(self.plan, self.laid)
        tally.scores = no_scores(self.plan) if self.ordered else None
        return tally

    def of_image(self, picture: Picture, total: Tally, threads: int = 1) -> None:
        """Count all pairs; threads share an image by its temperatures."""
        parts = split(self.plan, threads)
        # Made with the first image: a total that is given none needs no second set of histograms.
        if self.per_image and total.scratch is None:
            total.scratch = Tally.zero(self.plan).counts
        counts = total.scratch or total.counts
        # Threads take different temperatures, and so different pairs: no two write to the same histogram.
        in_parallel(lambda pairs: self._count(picture, pairs, counts, total), parts, threads)
        if self.plan.protocol.pooling == "images":
            found = in_parallel(lambda pairs: image_values(self.plan, picture, pairs), parts, threads)
            if values := {pair: row for part in found for pair, row in part.items()}:
                total.values[picture.image] = np.stack([values[pair] for pair in range(len(self.plan.pairs))])
        total.add_image(picture.labels)
        if total.scratch is not None:
            total.by_image[picture.image] = [total.drain(pair) for pair in range(len(self.plan.pairs))]

    def _count(self, picture: Picture, pairs: Sequence[int], counts: Counts, total: Tally) -> None:
        if total.scores is None and self.laid is None:
            picture.count(self.plan, pairs, counts, total.above)
            return
        # A walk that counts and collects computes each exponential once; a second walk would do so again.
        for i, scores, labels in picture.score_bands(self.plan, pairs, picture.labels):
            if self.laid:
                count_laid(scores, labels, self.laid[i].layout, self.laid[i].table, total.of_pair(i))
            elif self.sketched or self.per_image:  # figures need no bins here
                layout = self.plan.bins(self.plan.pairs[i]).layout
                count(scores, labels, layout, Counts(counts.low[i], counts.carries[i]))
            count_above(scores, labels, self.plan.threshold_ranks[i], total.above[i])
            if total.scores is not None:
                total.scores.take(i, scores, labels)

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Tally:
        """See `Statistic`."""
        return tally_from_arrays(self.plan, arrays, self.laid)

    def finish(self, total: Tally) -> list["Scored"]:
        """Return the figures of each pair, in the plan's order; raises as `make_rows`."""
        exact = self._ordered_figures(total) if total.scores is not None else None
        rows = make_rows(self.store, self.plan, total, self.workers, exact)
        kept = self.kept(rows)

        def scored(pair: int) -> Scored:
            """Return what is wanted of one pair."""
            curve = total.curve(pair) if self.sketched or pair in kept else None
            drawn = sketch(self.plan, self.plan.pairs[pair], curve) if self.sketched and curve else None
            images = sorted(total.by_image)
            counts = image_counts([total.by_image[image][pair] for image in images]) if images else None
            of_images = None if counts is None else OfImages(tuple(images), counts)
            spread = density(curve, self.plan.bins(self.plan.pairs[pair])) if curve and pair in kept else None
            return Scored(rows[pair], drawn, spread, of_images)

        return in_parallel(scored, range(len(rows)), self.workers)

    def _ordered_figures(self, total: Tally) -> Sequence[Figures | None]:
        N, P = (int(n) for n in total.pixels)
        if total.scores is None or not N or not P:
            return [None] * len(self.plan.pairs)
        return ordered_figures(total.scores, self.plan.protocol.reading, (N, P), self.workers)


class OfImages(NamedTuple):
    """Histograms of single images: their indices in the store, and int32 (images, 2, bins) of `image_counts`."""

    indices: tuple[int, ...]
    counts: np.ndarray


class Scored(NamedTuple):
    """What was found of one pair: its figures and, where they were asked for, more.

    Parameters
    ----------
    row : its figures
    sketch : what is drawn of it
    density : how its pixels are spread
    images : histograms of single images
    """

    row: Row
    sketch: Sketch | None
    density: Density | None
    images: OfImages | None


def make_rows(
    store: Store, plan: Plan, tally: Tally, workers: int = 1, exact: Sequence[Figures | None] | None = None
) -> list[Row]:
    """Return the figures of a tally, in the order of the plan's pairs, computed by so many threads.

    Parameters
    ----------
    exact : of each pair, where all scores were put in order: histograms are not looked at then

    Raises
    ------
    PipeError
        The histogram of a pair does not hold the pixels of all images.
    """

    def figures_of(pair: int) -> Figures | None:
        """Return the figures of a histogram, once it is sure to hold all pixels; None where means are taken."""
        curve = tally.curve(pair)
        # Every pixel that counts is in the histogram of every pair: other sums mean that counts were lost.
        if [curve.negatives, curve.positives] != tally.pixels.tolist():
            raise lost(store, tally.images)
        return None if plan.protocol.pooling == "images" else all_figures(curve, plan.protocol.reading)

    def row(pair: int) -> Row:
        """Return the row of one pair."""
        figures = figures_of(pair) if exact is None else exact[pair]
        if plan.protocol.pooling == "images":
            return _mean_row(store, plan, tally, pair)
        iou = [
            {"threshold": threshold, **metrics.iou(above, tally.pixels)}
            for threshold, above in zip(plan.thresholds, tally.above[pair], strict=True)
        ]
        return make_row(store.path, plan, pair, figures, iou, tally.pixels, tally.images)

    return in_parallel(row, range(len(plan.pairs)), workers)


def _mean_row(store: Store, plan: Plan, tally: Tally, pair: int) -> Row:
    """Return the means over those images that have both classes; their pixels are those that count."""
    # By index and not as workers came by: a sum of floats depends on its order.
    values = np.array([tally.values[image][pair] for image in sorted(tally.values)]).reshape(len(tally.values), -1)
    pixels = values[:, :2].sum(axis=0).astype(np.int64) if len(values) else np.zeros(2, np.int64)
    figures, ious = mean_figures(values[:, 2:]), mean_ious(values[:, 2:], plan.thresholds)
    return make_row(store.path, plan, pair, figures, ious, pixels, len(values))


def lost(store: Store, images: int) -> PipeError:
    """Return the error to raise where counts are not those of all pixels of so many images."""
    return PipeError(
        f"{store.path}: the counts are not those of all pixels of all {images} images: a worker has failed "
        "without a word. No figures were computed; call the same command again"
    )

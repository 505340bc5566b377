"""Components of the pixels above a threshold, held against those of the ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.figures.components import (
    SIOU,
    ComponentFigures,
    Matched,
    Sizes,
    component_figures,
    match,
)
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED
from logitpipe.stages.score.kernels.counting.components import components_above, number_components
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.score.statistics import ArrayTotal
from logitpipe.stages.streams import in_parallel

UNIT = 2.0**-32
"""What sIoU and PPV are rounded to before they are added: as integers, so that no order of images changes a sum."""

TRUTH, PREDICTED, SIOU_SUM, PPV_SUM = range(4)
_COUNTS = 4 + 2 * len(SIOU)
"""Numbers of one total: the four, TP at each t, FP at each t."""


@dataclass(frozen=True)
class Components:
    """Components of each pair of a plan (see `statistics.Statistic`).

    Parameters
    ----------
    plan : its pairs
    limits : float32 (pairs, n), the ranks above which a pixel is predicted to be anomalous
    sizes : which components are looked at; figures are found for each of these by itself
    """

    plan: Plan
    limits: np.ndarray
    sizes: Sequence[Sizes]

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`: beside the counts, an image and its maps while they are measured."""
        return 8 * self.limits.size * len(self.sizes) * _COUNTS + (64 << 20)

    def zero(self) -> ArrayTotal:
        """Return counts of (pairs, limits, sizes, `_COUNTS`)."""
        return ArrayTotal(np.zeros((*self.limits.shape, len(self.sizes), _COUNTS), np.int64))

    def of_image(self, picture: Picture, total: ArrayTotal, threads: int = 1) -> None:
        """Measure all pairs; threads share an image by its temperatures."""
        truth, truth_sizes = number_components(picture.labels, ANOMALY, IGNORED)
        # The smallest limit of all: components are measured once, and `match` applies each limit to them.
        least = int(min(sizes.predicted[0] for sizes in self.sizes))

        def measure(pairs: Sequence[int]) -> None:
            """Add the components of some pairs, at each of their limits."""
            for i, ranks in picture.score_maps(self.plan, pairs):
                for limit, counts in zip(self.limits[i], total.counts[i], strict=True):
                    predicted, pieces = components_above(np.ascontiguousarray(ranks), limit, truth, least)
                    for sizes, row in zip(self.sizes, counts, strict=True):
                        row += _counted(match(sizes, predicted, truth_sizes, pieces))

        in_parallel(measure, split(self.plan, threads), threads)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ArrayTotal:
        """See `Statistic`."""
        return self.zero().like(arrays)

    def finish(self, total: ArrayTotal) -> list[list[list[ComponentFigures]]]:
        """Return figures for each pair, limit and `Sizes`, in their order."""
        return [[[_figures(row) for row in of_limit] for of_limit in of_pair] for of_pair in total.counts]


def _counted(matched: Matched) -> np.ndarray:
    """Return what an image adds: int64 (_COUNTS,)."""
    # Rounded one by one before they are added: a rounded float sum would depend on the order.
    sums = [np.rint(values / UNIT).astype(np.int64).sum() for values in matched]
    # `>=` here and `<` below, as in the definition: a component that just reaches t is found.
    tp = (matched.siou >= SIOU[:, None]).sum(axis=1)
    fp = (matched.ppv < SIOU[:, None]).sum(axis=1)
    return np.concatenate([[matched.siou.size, matched.ppv.size, *sums], tp, fp])


def _figures(row: np.ndarray) -> ComponentFigures:
    tp, fp = np.split(row[4:], 2)
    siou, ppv = float(row[SIOU_SUM]) * UNIT, float(row[PPV_SUM]) * UNIT
    return component_figures(int(row[TRUTH]), int(row[PREDICTED]), siou, ppv, tp, fp)

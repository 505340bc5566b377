"""Confidence intervals of figures, in words."""

import numpy as np

from logitpipe.results.per_image.sampling import candidates, sampled
from logitpipe.results.selection import Temperature
from logitpipe.results.series import JoinedResults
from logitpipe.stages.score.figures import bootstrap
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.metrics import Metric
from logitpipe.tables.paper import Interval


def interval_words(results: JoinedResults, temperature: Temperature, decimals: int) -> Interval:
    """Return a function: row and metric -> confidence interval as text. Raises as `read_per_image`."""
    found: dict[int, np.ndarray] = {}
    for dataset, entries in results.datasets.items():
        if rows := candidates(results, dataset, temperature):
            moved = sampled(entries[0], rows).moved
            limits = bootstrap.intervals(
                moved.values, moved.resampled, moved.left_out, moved.effective, scale="logit"
            )
            # By identity: a row holds a list (`iou`), so that it cannot be a key itself.
            found |= {id(row.row): limits[i] for i, row in enumerate(rows)}

    def words(row: Row, metric: Metric) -> str:
        if id(row) not in found or metric.field not in bootstrap.FIGURES:
            return ""
        return between(found[id(row)][bootstrap.FIGURES.index(metric.field)], decimals)

    return words


def between(limits: np.ndarray, decimals: int) -> str:
    """Return an interval of fractions as per cent."""
    if np.isnan(limits).any():
        return ""
    low, high = 100 * limits
    return f"[{low:.{decimals}f}, {high:.{decimals}f}]"

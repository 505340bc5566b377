"""Tables of differences: which methods of a data set can be told apart, and how far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.cache.errors import UsageError
from logitpipe.console.text import counted, printable
from logitpipe.results.per_image.sampling import Candidate, Sampled
from logitpipe.stages.score.figures import bootstrap
from logitpipe.tables.metrics import METRICS, Metric
from logitpipe.tables.table import Cell, Group, Table
from logitpipe.tables.uncertainty.intervals import between

SIGNIFICANT = 0.05
"""The p below which a difference is told, after Holm's correction."""


@dataclass(frozen=True)
class Difference:
    """One row less another.

    Parameters
    ----------
    first, second : indices of the rows
    value : of the figure over all images pooled
    interval : float64 (2,), of the value
    p : of the mean difference of single images' figures, corrected for the number of tests
    """

    first: int
    second: int
    value: float
    interval: np.ndarray
    p: float

    @property
    def told_apart(self) -> bool:
        """Whether interval and test both say that there is a difference."""
        low, high = self.interval
        return self.p < SIGNIFICANT and not low <= 0 <= high


def differences(sampled: Sampled, figure: str, pairs: Sequence[tuple[int, int]]) -> list[Difference]:
    """Return the differences of pairs of rows, on the same resamples, with p corrected for the number of pairs."""
    moved, at = sampled.moved, bootstrap.FIGURES.index(figure)
    first, second = np.array(pairs).T
    # Differences within each resample, not between two intervals: images that are hard for both rows cancel out.
    values, resampled, left_out = (
        array[first, at] - array[second, at] for array in (moved.values, moved.resampled, moved.left_out)
    )
    limits = bootstrap.intervals(values, resampled, left_out, moved.effective)
    # Holm's correction counts the tests, so that all pairs must be corrected together.
    single = tested_figures(sampled, at)
    p = bootstrap.holm(bootstrap.sign_flip(single[first] - single[second]))
    return [
        Difference(a, b, float(value), limit, float(each))
        for (a, b), value, limit, each in zip(pairs, values, limits, p, strict=True)
    ]


def tested_figures(sampled: Sampled, figure: int) -> np.ndarray:
    """Return a figure of the images that show both classes: float64 (rows, images)."""
    single = sampled.figures[..., figure]
    return single[:, ~np.isnan(single).any(axis=0)]


def comparison_table(dataset: str, sampled: Sampled, metric: str, against: int | None, decimals: int) -> Table:
    """Return each row beside the one it is compared with.

    Parameters
    ----------
    metric : of METRICS; one that the bootstrap has
    against : index of the row that all are compared with; None for all pairs
    """
    figure = METRICS[metric]
    rows = range(len(sampled.candidates))
    # All pairs: each pair once, as a - b says the same as b - a. Else: every row but the reference itself.
    pairs = [(a, b) for b in rows for a in rows if (a > b if against is None else b == against != a)]
    found = differences(sampled, figure.field, pairs) if pairs else []
    title = f"{dataset}: {figure.title} of {counted(len(sampled.images), 'image')}, per cent"
    notes = tuple(_notes(sampled, figure, len(pairs)))
    lines = [_line(sampled, each, figure.field, decimals) for each in found]
    keys, group = ("method", "than"), Group("", (figure.title, "difference", "p", ""))
    if against is not None:
        own = _line_of_reference(sampled, against, figure.field, decimals)
        return Table(printable(title), ("method",), (group,), (own, *(line[:1] + line[2:] for line in lines)), notes)
    return Table(printable(title), keys, (group,), tuple(lines), notes, 2)


def verdict(each: Difference, better: object) -> str:
    """Return a difference in words."""
    if not each.told_apart:
        return "cannot be told apart"
    return "better" if (each.value > 0) == (better is max) else "worse"


def _line(sampled: Sampled, each: Difference, field: str, decimals: int) -> tuple[Cell, ...]:
    better = next(metric.better for metric in METRICS.values() if metric.field == field)
    first, second = (Cell(printable(sampled.candidates[i].label)) for i in (each.first, each.second))
    value = sampled.moved.values[each.first, bootstrap.FIGURES.index(field)]
    difference = Cell(f"{100 * each.value:+.{decimals}f}", note=between(each.interval, decimals))
    p = Cell("< 0.001" if each.p < 0.001 else f"{each.p:.3f}")
    return first, second, Cell(f"{100 * value:.{decimals}f}"), difference, p, Cell(verdict(each, better))


def _line_of_reference(sampled: Sampled, row: int, field: str, decimals: int) -> tuple[Cell, ...]:
    value = sampled.moved.values[row, bootstrap.FIGURES.index(field)]
    label = Cell(printable(sampled.candidates[row].label))
    return label, Cell(f"{100 * value:.{decimals}f}"), Cell(""), Cell(""), Cell("all are compared with this one")


def _notes(sampled: Sampled, figure: Metric, tests: int) -> list[str]:
    images, both = len(sampled.images), tested_figures(sampled, bootstrap.FIGURES.index(figure.field)).shape[1]
    redrawn = sampled.moved.redrawn
    notes = [
        f"difference: 95 % interval by {bootstrap.RESAMPLES:,} resamples of the {images} images, the same for all"
        + (f"; {redrawn:,} more had no anomalous or no normal pixel and were drawn again" if redrawn else ""),
        f"p: sign-flip test of the mean {figure.title} difference over {counted(both, 'image')} with both classes, "
        f"by Holm's correction for {counted(tests, 'comparison')}",
        "better, worse: the interval leaves 0 out, and p is below 0.05",
    ]
    least = 2.0 ** (1 - both)
    if both <= bootstrap.EXACT_IMAGES and least * tests >= SIGNIFICANT:
        notes.append(
            f"{counted(both, 'image')} can give no p below {least:.3g}: with {counted(tests, 'comparison')} none can "
            "be below 0.05, whatever the methods do"
        )
    return notes


def best_candidate(sampled: Sampled, metric: str) -> int:
    """Return the index of the row with the best figure."""
    at, better = bootstrap.FIGURES.index(METRICS[metric].field), METRICS[metric].better
    values = sampled.moved.values[:, at].tolist()
    return values.index(better(values))


def find_candidate(rows: Sequence[Candidate], name: str) -> int | None:
    """Return the index of the row that is called so: by its method, or by network and method."""
    found = [i for i, row in enumerate(rows) if name in (row.method, f"{row.network}:{row.method}", row.label)]
    return found[0] if len(found) == 1 else None


def compared(
    dataset: str, sampled: Sampled, metric: str, against: str | None, all_pairs: bool, decimals: int
) -> Table:
    """Return the table of differences, of each row from one or of all pairs; UsageError where it is not there."""
    if all_pairs:
        return comparison_table(dataset, sampled, metric, None, decimals)
    if against is None:
        return comparison_table(dataset, sampled, metric, best_candidate(sampled, metric), decimals)
    row = find_candidate(sampled.candidates, against)
    if row is None:
        names = ", ".join(f"{each.network}:{each.method}" for each in sampled.candidates)
        raise UsageError(printable(f"{against!r} is not one of the rows of {dataset}: {names}"), option="against")
    return comparison_table(dataset, sampled, metric, row, decimals)

"""The figures that tables can show: what each is called, which of two is better, how it is printed."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from logitpipe.cache.errors import UsageError
from logitpipe.stages.score.figures.rows import DECIMALS, Row

Better = Callable[[Iterable[float]], float]


class Metric(NamedTuple):
    """A figure of a row.

    Parameters
    ----------
    title : as tables head its column
    field : of a row; `FIELD_lower` and `FIELD_upper` bound it where its resolution is known
    better : max or min
    """

    title: str
    field: str
    better: Better


METRICS: dict[str, Metric] = {
    "auprc": Metric("AuPRC", "auprc", max),
    "fpr95": Metric("FPR95", "fpr95", min),
    "auroc": Metric("AUROC", "auroc", max),
    "f1": Metric("F1", "best_f1", max),
    "iou": Metric("mIoU", "best_iou", max),
}
"""By the name that asks for it. F1 and mIoU are those at the threshold that is best for each."""

BETTER: dict[str, Better] = {metric.title: metric.better for metric in METRICS.values()}


def metrics_named(names: Sequence[str]) -> tuple[Metric, ...]:
    """Return metrics by name; UsageError for one that does not exist."""
    for name in names:
        if name not in METRICS:
            raise UsageError(f"{name!r} is no metric; there are {', '.join(METRICS)}", option="metrics")
    return tuple(METRICS[name] for name in dict.fromkeys(names))


def value(row: Row, metric: Metric) -> float | None:
    """Return a figure, a fraction; None where it does not exist."""
    found: float | None = getattr(row, metric.field, None)
    return found


def bounds(row: Row, metric: Metric) -> tuple[float, float] | None:
    """Return the bounds of a figure: the figure itself, twice, where it has none; None where there is no figure."""
    found = value(row, metric)
    if found is None:
        return None
    # Rows of earlier releases, and the mean IoU, have no bounds.
    low, high = (getattr(row, f"{metric.field}_{end}", None) for end in ("lower", "upper"))
    return (found if low is None else low), (found if high is None else high)


def printed(row: Row, metric: Metric, decimals: int = DECIMALS) -> str:
    """Return a figure as per cent, with no digit that its bounds leave open; `none` where it does not exist."""
    found = bounds(row, metric)
    return "none" if found is None else certain(*found, decimals)


def certain(low: float, high: float, decimals: int) -> str:
    """Return a figure as per cent, given its bounds, with only the digits on which both bounds agree.

    Where the bounds round to different whole per cents, both are printed.
    """
    # Both ends are rounded, and compared as text: what counts is whether a reader would see the same digits.
    for digits in range(decimals, -1, -1):
        ends = {f"{100 * end:.{digits}f}" for end in (low, high)}
        if len(ends) == 1:
            return ends.pop()
    return f"{100 * low:.1f} to {100 * high:.1f}"


def best_of(values: Sequence[float | None], better: Better, decimals: int = DECIMALS) -> list[bool]:
    """Return which of some fractions are the best as printed: what looks equal is marked alike, one alone never."""
    # Rounded first, as the reader sees the figures: 27.4751 and 27.4749 print alike and are marked alike.
    rounded = [None if each is None else round(100 * each, decimals) for each in values]
    known = [each for each in rounded if each is not None]
    # One figure alone is not the best of anything, and a mark on it would say so.
    best = better(known) if len(known) > 1 else None
    return [each is not None and each == best for each in rounded]

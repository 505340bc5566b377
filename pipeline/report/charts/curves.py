"""Precision-recall and ROC curves, and the scores that are behind them."""

from collections.abc import Callable

import numpy as np

from logitpipe.report.charts.axes import Axis, even_axis, score_ticks
from logitpipe.report.charts.plot import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Line, draw_lines, frame, svg
from logitpipe.report.markup import Html, tag
from logitpipe.report.words import at_temperature, figure
from logitpipe.results.series import Entry, Series
from logitpipe.stages.score.figures.curves import BINS

RIGHT = WIDTH - 12
PANEL = (260.0, 144.0)
TICK_SHARES = (0.12, 0.37, 0.63, 0.88)
"""Where along an axis of scores a tick is wanted."""


def precision_recall_plot(entry: Entry, chosen: Callable[[Series], int]) -> Html:
    """Return precision over recall of a store's methods, each at the row that is chosen of it."""
    lines = [Line(series.method, _precision_recall(series, chosen(series))) for series in entry.series]
    # Up to the highest precision, not to 1: where anomalies are rare, all curves lie near the bottom.
    y = even_axis(0, max(precision for line in lines for _, precision in line.points), BOTTOM, TOP)
    level = 100 * entry.row.positives / entry.row.pixels
    words = f"Precision over recall of {entry.label}", _in_words(entry, chosen, "auprc", "AuPRC")
    return _curve_plot(words, ("recall, per cent", "precision, per cent"), y, lines, (level, level))


def roc_plot(entry: Entry, chosen: Callable[[Series], int]) -> Html:
    """Return the ROC curves of a store's methods, each at the row that is chosen of it."""
    sketches = ((series.method, series.sketches[chosen(series)]) for series in entry.series)
    lines = [Line(method, _pairs(sketch.fpr, sketch.recall)) for method, sketch in sketches]
    words = f"ROC curves of {entry.label}", _in_words(entry, chosen, "auroc", "AUROC")
    names = "false positive rate, per cent", "true positive rate, per cent"
    return _curve_plot(words, names, even_axis(0, 100, BOTTOM, TOP), lines, (0, 100))


def distribution_plot(entry: Entry, series: Series) -> Html:
    """Return how the scores of normal and of anomalous pixels are spread, at the row that is drawn."""
    row, sketch = series.rows[series.shown], series.sketches[series.shown]
    (width, height), bottom = PANEL, PANEL[1] - 24
    x = Axis(0, BINS, 8, width - 8, tuple(dict(score_ticks(sketch.edges, TICK_SHARES)).items()))
    y = Axis(0, float(max(sketch.normal.max(), sketch.anomaly.max())), bottom, 12, ())
    outline = _outline(sketch.normal, x, y)
    return svg(
        width,
        height,
        f"Scores of {series.method}{at_temperature(row)}, {entry.label}",
        f"Half of the normal pixels lie below {_median(sketch.normal, sketch.edges)}, "
        f"half of the anomalous ones below {_median(sketch.anomaly, sketch.edges)}.",
        tag("path", d=f"{outline}V{bottom:g}H{x.start:g}Z", class_="normal"),
        tag("path", d=_outline(sketch.anomaly, x, y), class_="anomaly"),
        frame(x, y),
    )


def _curve_plot(
    words: tuple[str, str], names: tuple[str, str], y: Axis, lines: list[Line], chance: tuple[float, float]
) -> Html:
    """Return curves over 0 to 100 per cent, with title and description, and what chance gives at either end."""
    x, (left, right) = even_axis(0, 100, LEFT, RIGHT), map(y.position, chance)
    mark = tag("line", x1=x.start, x2=x.end, y1=left, y2=right, class_="mark")
    return svg(WIDTH, HEIGHT, *words, frame(x, y, *names), mark, draw_lines(lines, x, y))


def _precision_recall(series: Series, index: int) -> list[tuple[float, float]]:
    """Return per cent, without the end where nothing is found: its precision is a convention."""
    sketch = series.sketches[index]
    some = sketch.recall + sketch.fpr > 0
    return _pairs(sketch.recall[some], sketch.precision[some])


def _pairs(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    return [(100 * a, 100 * b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _in_words(entry: Entry, chosen: Callable[[Series], int], metric: str, name: str) -> str:
    rows = [series.rows[chosen(series)] for series in entry.series]
    return "; ".join(f"{row.method}{at_temperature(row)}: {name} {figure(row, metric)}" for row in rows)


def _outline(shares: np.ndarray, x: Axis, y: Axis) -> str:
    """Return the path of a histogram's outline."""
    rises = (f"V{y.position(share):.1f}H{x.position(i + 1):.1f}" for i, share in enumerate(shares.tolist()))
    return f"M{x.start:g} {y.start:g}{''.join(rises)}"


def _median(shares: np.ndarray, edges: np.ndarray) -> str:
    """Return the score that half of the pixels lie below."""
    sums, positions = np.concatenate([[0.0], np.cumsum(shares)]), np.arange(BINS + 1)
    return f"{np.interp(np.interp(0.5, sums, positions), positions, edges):.3g}"

"""IoU at the thresholds that `pipe score --threshold` was given, as tables."""

from collections.abc import Iterator, Sequence

from logitpipe.console.text import printable
from logitpipe.results.columns import method_label
from logitpipe.stages.score.figures.rows import DECIMALS, Row
from logitpipe.tables.comparison import temperature_text
from logitpipe.tables.table import Cell, Group, Table

COLUMNS = {"IoU normal": "normal", "IoU anomaly": "anomaly", "mean IoU": "mean"}
"""Heading -> name in `rows.Row.iou`."""
KEYS = ("network", "method", "T", "threshold")


def threshold_tables(rows: Sequence[Row]) -> list[Table]:
    """Return one table for each data set and protocol: a line for each row and threshold; none without thresholds."""
    groups = dict.fromkeys((row.dataset, row.protocol) for row in rows if row.iou)
    return [
        _table([row for row in rows if (row.dataset, row.protocol) == (dataset, protocol)], dataset, protocol)
        for dataset, protocol in groups
    ]


def _table(rows: Sequence[Row], dataset: str, protocol: str) -> Table:
    title = printable(f"{dataset}, protocol {protocol}: pixels that reach a threshold are called anomalous, per cent")
    lines = tuple(line for row in rows for line in _lines(row))
    return Table(title, KEYS, (Group("", tuple(COLUMNS)),), lines, words=2)


def _lines(row: Row) -> Iterator[tuple[Cell, ...]]:
    for found in row.iou:
        words = (
            printable(row.network),
            method_label(row),
            temperature_text(row.temperature),
            f"{found['threshold']:g}",
        )
        figures = (found[name] for name in COLUMNS.values())
        texts = ("none" if value is None else f"{100 * value:.{DECIMALS}f}" for value in figures)
        yield (*map(Cell, words), *map(Cell, texts))

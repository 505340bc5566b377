"""Rows of figures as tables for people: pixel and mask networks side by side, per cent, the best of each column."""

import re
from collections.abc import Sequence

from logitpipe.console.text import printable
from logitpipe.results.columns import method_label
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.metrics import METRICS, Metric, best_of, printed, value
from logitpipe.tables.table import Cell, Group, Table

SHOWN = (METRICS["auprc"], METRICS["fpr95"], METRICS["auroc"])
"""Where nobody asks for others."""


def comparison_tables(rows: Sequence[Row], metrics: Sequence[Metric] = SHOWN) -> list[Table]:
    """Return one table for each data set and protocol.

    It has a line for each method and temperature and a group of columns for each store. In each column with more
    than one figure the best is marked, as are those that equal it as printed.
    """
    groups = dict.fromkeys((row.dataset, row.protocol) for row in rows)
    return [_comparison([row for row in rows if (row.dataset, row.protocol) == group], metrics) for group in groups]


def summarised(rows: Sequence[Row]) -> list[Row]:
    """Return, of each method on each store, what T = 1 and the temperature of the best AuPRC gave."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        at = row.store, method_label(row)
        # At equal AuPRC the row at T = 1 wins, as no label was needed to choose it (see `_by_auprc`).
        best[at] = max(best.get(at, row), row, key=_by_auprc)
    return [row for row in rows if row.temperature in (None, 1) or row is best[row.store, method_label(row)]]


def _by_auprc(row: Row) -> tuple[float, bool]:
    return (-1.0 if row.auprc is None else row.auprc), row.temperature == 1


def _comparison(rows: Sequence[Row], metrics: Sequence[Metric]) -> Table:
    stores = list(dict.fromkeys(row.store for row in rows))
    names = _names(rows, stores)
    found = {(row.store, method_label(row), row.temperature): row for row in rows}
    pairs = _by_method(list(dict.fromkeys((method_label(row), row.temperature) for row in rows)))
    columns = [
        _column([found.get((store, *pair)) for pair in pairs], metric) for store in stores for metric in metrics
    ]
    words = [(Cell(method), Cell(temperature_text(T))) for method, T in pairs]
    lines = tuple((*word, *cells) for word, cells in zip(words, zip(*columns, strict=True), strict=True))
    groups = tuple(Group(name, tuple(metric.title for metric in metrics)) for name in names.values())
    return Table(_title(rows), ("method", "T"), groups, lines, tuple(_why_none(rows, names)))


def _title(rows: Sequence[Row]) -> str:
    counts = {(row.images, row.pixels, row.positives) for row in rows}
    sizes = "; ".join(
        f"{images} images, {pixels} pixels, {positives} anomalous" for images, pixels, positives in sorted(counts)
    )
    return printable(f"{rows[0].dataset}, protocol {rows[0].protocol}, per cent ({sizes})")


def _names(rows: Sequence[Row], stores: Sequence[str]) -> dict[str, str]:
    """Name each store by its network and, where stores share one, by its file, or by its path if they share that."""
    networks = {row.store: row.network for row in rows}
    files = {store: re.sub(r"\.zarr(\.zip)?$", "", store.rstrip("/").rpartition("/")[2]) for store in stores}

    def name(store: str) -> str:
        """Return the shortest name that no other store has."""
        # As short as is clear: most tables have one store of each network.
        same = [other for other in stores if networks[other] == networks[store]]
        if len(same) == 1:
            return networks[store]
        alone = [files[other] for other in same].count(files[store]) == 1
        return f"{networks[store]} ({files[store] if alone else store})"

    return {store: printable(name(store)) for store in stores}


def _by_method(pairs: list[tuple[str, float | None]]) -> list[tuple[str, float | None]]:
    """Bring the temperatures of each method together, in the order in which methods first come."""
    order = list(dict.fromkeys(method for method, _ in pairs))
    return sorted(pairs, key=lambda pair: (order.index(pair[0]), pair[1] or 0.0))


def _column(rows: Sequence[Row | None], metric: Metric) -> list[Cell]:
    """Return one figure of one store; empty where a method does not serve its kind, `none` where it has no value."""
    best = best_of([None if row is None else value(row, metric) for row in rows], metric.better)
    return [
        Cell("" if row is None else printed(row, metric), is_best) for row, is_best in zip(rows, best, strict=True)
    ]


def temperature_text(T: float | None) -> str:
    """Return a temperature as tables print it."""
    return "-" if T is None else f"{T:g}"


def _why_none(rows: Sequence[Row], names: dict[str, str]) -> list[str]:
    """Say of each store without figures why it has none."""
    facts = {row.store: row for row in rows if row.auprc is None}
    return [f"none for {names[store]}: {_reason(row)}" for store, row in facts.items()]


def _reason(row: Row) -> str:
    if not row.images:
        return "no image was scored, as the protocol skips images without an anomaly"
    if not row.pixels:
        return "no pixel was scored, as all are void"
    return f"no pixel is {'normal' if row.positives else 'anomalous'}, and the figures need both kinds"

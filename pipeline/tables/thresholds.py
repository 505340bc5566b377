"""Figures at thresholds as tables: IoU at those that were given, F1, IoU and FPR at those of other data sets."""

from collections.abc import Iterator, Mapping, Sequence

from logitpipe.console.text import printable
from logitpipe.results.columns import method_label
from logitpipe.results.selection import Temperature, row_at
from logitpipe.results.series import JoinedResults
from logitpipe.stages.score.figures.rows import DECIMALS, Row, pair_of
from logitpipe.stages.score.passes.transfer import TransferRow
from logitpipe.tables.comparison import temperature_text
from logitpipe.tables.table import Cell, Group, Table

COLUMNS = {"IoU normal": "normal", "IoU anomaly": "anomaly", "mean IoU": "mean"}
"""Heading -> name in `rows.Row.iou`."""
KEYS = ("network", "method", "T", "threshold")

TRANSFERRED = {
    "best-f1": {"F1": "f1", "IoU": "iou", "FPR": "fpr"},
    "tpr95": {"TPR": "tpr", "FPR": "fpr", "F1": "f1", "IoU": "iou"},
}
"""By how a threshold was chosen: heading -> name in `transfer.TransferRow`."""
CHOSEN = {
    "best-f1": "thresholds of the best F1 of one data set",
    "tpr95": "highest thresholds with a TPR of 95 % on one data set",
}
OWN = "own: the threshold was chosen on these very labels; IoU is that of anomalies"


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


def transfer_tables(rows: Sequence[TransferRow], decimals: int = DECIMALS) -> list[Table]:
    """Return a table for each protocol and rule: what a threshold gives on the data set that chose it, and on others.

    Parameters
    ----------
    decimals : of a per cent
    """
    groups = dict.fromkeys((row.protocol, row.rule) for row in rows)
    return [_transfer([row for row in rows if (row.protocol, row.rule) == group], decimals) for group in groups]


def transferred_at(
    results: JoinedResults, rows: Sequence[TransferRow], temperature: Temperature
) -> list[TransferRow]:
    """Return the rows of thresholds at a temperature, or at the best one of the data set that chose the threshold."""
    chosen = {
        (entry.row.store, entry.row.protocol, pair_of(series.rows[index]))
        for entry in results.entries
        for series in entry.series
        if (index := row_at(series, temperature)) is not None
    }
    found = [row for row in rows if (row.chosen_on_store, row.protocol, pair_of(row)) in chosen]
    if temperature != "best":
        return found
    # Data sets have chosen other temperatures: those of a method stand together, in the order of the data sets.
    methods, sources = (
        list(dict.fromkeys(map(key, found)))
        for key in (lambda r: (r.network, method_label(r)), lambda r: r.chosen_on)
    )
    return sorted(found, key=lambda r: (methods.index((r.network, method_label(r))), sources.index(r.chosen_on)))


def _transfer(rows: Sequence[TransferRow], decimals: int) -> Table:
    stores: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        stores.setdefault((row.network, row.dataset), set()).add(row.store)

    def name(network: str, dataset: str, store: str) -> str:
        # A network may have several stores over one data set, of other weights or other sizes.
        alone = len(stores.get((network, dataset), ())) < 2
        return printable(dataset if alone else f"{dataset} ({store})")

    lines: dict[tuple[str, ...], dict[str, TransferRow]] = {}
    for row in rows:
        source = name(row.network, row.chosen_on, row.chosen_on_store)
        threshold = "none" if row.threshold is None else f"{row.threshold:.6g}"
        key = printable(row.network), method_label(row), temperature_text(row.temperature), source, threshold
        lines.setdefault(key, {})[name(row.network, row.dataset, row.store)] = row
    datasets = list(dict.fromkeys(name for found in lines.values() for name in found))
    first, columns = rows[0], TRANSFERRED[rows[0].rule]
    return Table(
        printable(f"At {CHOSEN[first.rule]}, applied to the others, protocol {first.protocol}, per cent"),
        ("network", "method", "T", "chosen on", "threshold"),
        tuple(Group(dataset, tuple(columns)) for dataset in datasets),
        tuple(
            (
                *map(Cell, key),
                *(cell for name in datasets for cell in _transferred(found.get(name), columns, decimals)),
            )
            for key, found in lines.items()
        ),
        (OWN,),
        words=4,
    )


def _transferred(row: TransferRow | None, columns: Mapping[str, str], decimals: int) -> list[Cell]:
    if row is None:
        return [Cell("")] * len(columns)
    own = "own" if row.store == row.chosen_on_store else ""
    values = [getattr(row, name) for name in columns.values()]
    texts = ["none" if value is None else f"{100 * value:.{decimals}f}" for value in values]
    return [Cell(text, note=own if i == 0 else "") for i, text in enumerate(texts)]

"""Two checks of a temperature chosen on the labels: its optimism, and the AuPRC it gives on other data sets."""

import os
from collections.abc import Iterator

from logitpipe.console.text import printable
from logitpipe.results.per_image.histograms import read_per_image
from logitpipe.results.selection import identity, network_names
from logitpipe.results.series import Entry, JoinedResults, Series
from logitpipe.stages.score.figures import bootstrap
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.metrics import METRICS, printed
from logitpipe.tables.table import Cell, Group, Table

AREA = METRICS["auprc"]
RESAMPLES = 500
"""For optimism, which is a mean: its own error is small beside it."""

OPTIMISM = (
    "optimism: by how much the gain over T = 1 flatters itself, as temperatures are judged by the labels they were "
    f"chosen on: the mean of {RESAMPLES} resamples of the images, in each of which the temperature was chosen again",
    "corrected: AuPRC at the best T less the optimism",
)
TRANSFER = "own: T was chosen on these very labels"


def optimism_tables(results: JoinedResults, decimals: int) -> list[Table]:
    """Return for each data set what choosing temperatures gained, and how much of it will not last.

    Raises
    ------
    PipeError
        There are no histograms of single images.
    """
    tables = [_optimism_table(name, entries, results, decimals) for name, entries in results.datasets.items()]
    return [table for table in tables if table.lines]


def transfer_table(results: JoinedResults, decimals: int) -> Table | None:
    """Return the AuPRC that the temperature chosen on each data set gives on each other one.

    None where there is one data set alone, or no method was scored at several temperatures.
    """
    datasets, found = list(results.datasets), _tempered(results)
    if len(datasets) < 2 or not found:
        return None
    lines = [line for key, own in found.items() for line in _transfer_lines(key, own, datasets, decimals)]
    keys = ("network", "method", "T chosen on", "T")
    groups = (Group("", tuple(printable(name) for name in datasets)),)
    return Table("AuPRC at temperatures chosen elsewhere, per cent", keys, groups, tuple(lines), (TRANSFER,), 3)


def _optimism_table(dataset: str, entries: list[Entry], results: JoinedResults, decimals: int) -> Table:
    names = network_names(results.entries)
    lines = [
        _optimism_line(names[identity(entry)], entry, series, decimals)
        for entry in entries
        for series in entry.series
        if _is_choice(series)
    ]
    columns = ("AuPRC at T = 1", "best T", "AuPRC", "gain", "optimism", "corrected")
    title = printable(f"{dataset}: temperatures chosen on its labels, per cent")
    return Table(title, ("network", "method"), (Group("", columns),), tuple(lines), OPTIMISM, 2)


def _is_choice(series: Series) -> bool:
    """Return whether a method has figures at T = 1, which no label chose, and at others."""
    return len(series.rows) > 1 and series.at(1.0) is not None and series.rows[0].auprc is not None


def _optimism_line(network: str, entry: Entry, series: Series, decimals: int) -> tuple[Cell, ...]:
    # The choice is repeated in each resample, so that all temperatures must be judged on the same resamples.
    counts = read_per_image(series.origins).counts
    moved = bootstrap.bootstrap(counts, entry.run.protocol.reading, RESAMPLES, workers=os.cpu_count() or 1)
    # Figures of the sweep, not of the kept histograms: the table shows these, and gains must be differences of them.
    plain, areas = series.at(1.0) or 0, [row.auprc or 0.0 for row in series.rows]
    found = bootstrap.choice(areas, moved.resampled[:, bootstrap.FIGURES.index("auprc")], plain)
    best = series.rows[found.best]
    texts = [
        printed(series.rows[plain], AREA, decimals),
        f"{best.temperature:g}",
        printed(best, AREA, decimals),
        *(f"{100 * value:+.{decimals}f}" for value in (found.gain, found.optimism)),
        f"{100 * (areas[found.best] - found.optimism):.{decimals}f}",
    ]
    return (Cell(network), Cell(series.method), *map(Cell, texts))


def _tempered(results: JoinedResults) -> dict[tuple[str, str], dict[str, Series]]:
    """Return the methods that were scored at several temperatures, by network and method, then by data set."""
    names = network_names(results.entries)
    found: dict[tuple[str, str], dict[str, Series]] = {}
    for dataset, entries in results.datasets.items():
        for entry in entries:
            for series in entry.series:
                if len(series.rows) > 1 and series.rows[0].auprc is not None:
                    found.setdefault((names[identity(entry)], series.method), {})[dataset] = series
    return found


def _transfer_lines(
    key: tuple[str, str], own: dict[str, Series], datasets: list[str], decimals: int
) -> Iterator[tuple[Cell, ...]]:
    """Yield a line for each data set on which a temperature was chosen, and one for T = 1."""
    chosen = {name: series.rows[series.best].temperature or 1.0 for name, series in own.items()}
    for source, temperature in [("nothing", 1.0), *chosen.items()]:
        cells = []
        for name in datasets:
            row = _row_at(own.get(name), temperature)
            note = "own" if name == source else ""
            cells.append(Cell("") if row is None else Cell(printed(row, AREA, decimals), note=note))
        # A temperature that no other data set was scored at would give an empty line.
        if any(cell.text for cell in cells):
            yield (*map(Cell, (*key, printable(source), f"{temperature:g}")), *cells)


def _row_at(series: Series | None, temperature: float) -> Row | None:
    index = None if series is None else series.at(temperature)
    return None if series is None or index is None else series.rows[index]

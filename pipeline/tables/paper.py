"""The table that papers print: networks and methods down, data sets across, then their mean and the rank."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from logitpipe.console.text import printable
from logitpipe.results.selection import Temperature, identity, network_names, row_at
from logitpipe.results.series import JoinedResults
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.metrics import Metric, best_of, bounds, certain, printed, value
from logitpipe.tables.table import Cell, Group, Table

Interval = Callable[[Row, Metric], str]
"""The confidence interval of a figure in words, empty where there is none."""


def no_interval(_row: Row, _metric: Metric) -> str:
    """Return nothing: a table without intervals."""
    return ""


INTERVALS = "[low, high]: confidence interval of 95 %, by resamples of the images of a data set"
CHOSEN = "best: the temperature of the best AuPRC of each method on each data set, chosen by these labels"


@dataclass(frozen=True)
class Line:
    """A method of a network, and its row on each data set on which it was scored."""

    network: str
    method: str
    rows: Mapping[str, Row]


def paper_table(
    results: JoinedResults,
    metrics: Sequence[Metric],
    temperature: Temperature = 1.0,
    decimals: int = 2,
    interval: Interval = no_interval,
) -> Table:
    """Return one table over all data sets.

    Parameters
    ----------
    metrics : columns of each data set; the rank goes by the first
    temperature : of the methods that have one
    decimals : of a per cent, at most
    interval : what stands beside each figure
    """
    datasets, lines = list(results.datasets), paper_lines(results, temperature)
    groups = [Group(printable(name), tuple(metric.title for metric in metrics)) for name in datasets]
    columns = [
        _column([line.rows.get(name) for line in lines], metric, decimals, interval)
        for name in datasets
        for metric in metrics
    ]
    if len(datasets) > 1:
        groups.append(Group("mean", (*(metric.title for metric in metrics), "rank")))
        columns += [_means(lines, datasets, metric, decimals) for metric in metrics]
        columns.append(_ranks(lines, datasets, metrics[0]))
    keys = [(Cell(line.network), Cell(line.method)) for line in lines]
    cells = tuple((*key, *line) for key, line in zip(keys, zip(*columns, strict=True), strict=True))
    return Table(
        _title(results, temperature),
        ("network", "method"),
        tuple(groups),
        cells,
        _notes(results, temperature, interval),
        2,
    )


def paper_lines(results: JoinedResults, temperature: Temperature) -> list[Line]:
    """Return the methods of all networks that have a row at a temperature on some data set."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    names = network_names(results.entries)
    for dataset, entries in results.datasets.items():
        for entry, name in ((entry, names[identity(entry)]) for entry in entries):
            for series in entry.series:
                if (index := row_at(series, temperature)) is not None:
                    found.setdefault((name, series.method), {})[dataset] = series.rows[index]
    # Methods of a network together, even where data sets brought them in another order.
    order = list(dict.fromkeys(name for name, _ in found))
    return [Line(*key, rows) for key, rows in sorted(found.items(), key=lambda item: order.index(item[0][0]))]


def _title(results: JoinedResults, temperature: Temperature) -> str:
    protocols = ", ".join(dict.fromkeys(run.protocol.name for run in results.runs))
    at = "at the best temperature" if temperature == "best" else f"T = {temperature:g}"
    return printable(f"Protocol {protocols}, {at}, per cent")


def _notes(results: JoinedResults, temperature: Temperature, interval: Interval) -> tuple[str, ...]:
    rank = ["rank: mean of the ranks on all data sets"] if len(results.datasets) > 1 else []
    intervals = [] if interval is no_interval else [INTERVALS]
    return (*([CHOSEN] if temperature == "best" else []), *rank, *intervals)


def _column(rows: Sequence[Row | None], metric: Metric, decimals: int, interval: Interval) -> list[Cell]:
    best = best_of([None if row is None else value(row, metric) for row in rows], metric.better, decimals)
    return [
        Cell("") if row is None else Cell(printed(row, metric, decimals), is_best, interval(row, metric))
        for row, is_best in zip(rows, best, strict=True)
    ]


def _of_all(line: Line, datasets: Sequence[str], metric: Metric) -> list[float] | None:
    """Return a figure on every data set, or None where one lacks it: a mean of fewer would compare unlike things."""
    values = [value(line.rows[name], metric) for name in datasets if name in line.rows]
    known = [each for each in values if each is not None]
    return known if len(known) == len(datasets) else None


def _means(lines: Sequence[Line], datasets: Sequence[str], metric: Metric, decimals: int) -> list[Cell]:
    every = [_of_all(line, datasets, metric) for line in lines]
    best = best_of([None if values is None else fmean(values) for values in every], metric.better, decimals)
    cells = []
    for line, values, is_best in zip(lines, every, best, strict=True):
        ends = [found for name in datasets if name in line.rows and (found := bounds(line.rows[name], metric))]
        # The mean grows with each of its terms, so that the means of the ends bound the mean of the figures.
        low, high = map(fmean, zip(*ends, strict=True)) if values else (0.0, 0.0)
        cells.append(Cell(certain(low, high, decimals), is_best) if values else Cell(""))
    return cells


def _ranks(lines: Sequence[Line], datasets: Sequence[str], metric: Metric) -> list[Cell]:
    """Return the mean rank over data sets, among the methods that have a figure on all; ties share their mean."""
    every = {i: values for i, line in enumerate(lines) if (values := _of_all(line, datasets, metric)) is not None}
    sign = -1 if metric.better is max else 1
    ranks: dict[int, float] = dict.fromkeys(every, 0.0)
    for at in range(len(datasets)):
        scores = {i: sign * values[at] for i, values in every.items()}
        for i, score in scores.items():
            # `same` counts the method itself: alone it gets below + 1; n equal ones share the mean of their n ranks.
            below, same = (sum(test(other) for other in scores.values()) for test in (score.__gt__, score.__eq__))
            ranks[i] += (below + (same + 1) / 2) / len(datasets)
    best = best_of([ranks.get(i) for i in range(len(lines))], min, -1)
    return [Cell(f"{ranks[i]:.1f}" if i in ranks else "", best[i]) for i in range(len(lines))]

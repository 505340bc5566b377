"""What `pipe score` prints: its rows of figures in the format that was asked for."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from logitpipe.console.settings import origin, stronger
from logitpipe.console.streams import can_bold, columns

if TYPE_CHECKING:
    from logitpipe.results.benchmarks import Records
    from logitpipe.runs.also import Also
    from logitpipe.stages.score.figures.rows import Row
    from logitpipe.tables.metrics import Metric
    from logitpipe.tables.table import Table

FORMATS = ("table", "markdown", "latex", "csv", "json")
"""Of `pipe score`."""

SUMMARY = "summary: T = 1 and, chosen by these labels, the temperature of the best AuPRC of each method"


def choose_format(context: click.Context, name: str, as_json: bool) -> str:
    """Return the format that --format or --json names; of two, the one from the stronger source, as a flag is.

    Raises
    ------
    click.UsageError
        Both come from the same source.
    """
    if not as_json:
        return name
    # A flag may correct what the settings file says, but two formats from one source contradict each other.
    json_from, name_from = (origin(context, parameter) for parameter in ("as_json", "format_name"))
    if json_from == name_from:
        raise click.UsageError(f"--json and --format {name} are two formats; leave one of them out")
    return "json" if stronger(json_from, name_from) else name


def formatted(
    rows: "Sequence[Row]", name: str, summary: bool, metrics: "Sequence[Metric]", also: "Also | None" = None
) -> str:
    """Return rows as text in a format, ending in a line break; tables can be of a summary, data never is.

    The benchmarks' own figures follow as tables of their own, as further members of the JSON object or, in CSV, each
    family behind an empty line with a line of names of its own.
    """
    if name == "json":
        return as_json(rows, also.records() if also else {})
    if name == "csv":
        from logitpipe.results.plain_rows import as_csv

        return "\n".join([as_csv(rows), *_more_csv(also)])
    from logitpipe.tables.thresholds import threshold_tables

    more = also.tables(rows, summary) if also else []
    # Of a store without anomalies there is nothing to say here, and the other tables do.
    shown = [row for row in rows if row.auprc is not None] if more else rows
    tables = [*(_tables(shown, summary, metrics) if shown else []), *threshold_tables(shown), *more]
    return "\n\n".join(map(writer(name), tables)) + "\n"


def writer(name: str) -> Callable[["Table"], str]:
    """Return what writes a table of text in a format, without a line break at its end.

    `table` is aligned, as bold and as wide as stdout can show it.
    """
    from logitpipe.tables import render

    writers: dict[str, Callable[[Table], str]] = {
        "table": lambda table: render.plain(table, can_bold(sys.stdout), columns(sys.stdout)),
        "markdown": render.markdown,
        "latex": render.latex,
        "html": render.html,
        "csv": lambda table: render.as_csv(table).rstrip("\n"),
    }
    return writers[name]


def _more_csv(also: "Also | None") -> list[str]:
    from logitpipe.results.benchmarks import records_as_csv

    return [records_as_csv(records) for records in also.records().values()] if also else []


def as_json(rows: "Sequence[Row]", benchmarks: "Records") -> str:
    """Return one JSON object in one line."""
    from logitpipe.results.plain_rows import as_document

    # NaN is no JSON; a figure that does not exist is null.
    return json.dumps(as_document(rows) | dict(benchmarks), allow_nan=False) + "\n"


def _tables(rows: "Sequence[Row]", summary: bool, metrics: "Sequence[Metric]") -> "list[Table]":
    from logitpipe.tables.comparison import comparison_tables, summarised

    if not summary:
        return comparison_tables(rows, metrics)
    tables = comparison_tables(summarised(rows), metrics)
    return [replace(table, notes=(*table.notes, SUMMARY)) for table in tables]

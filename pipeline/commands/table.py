"""`pipe table`: the results of one or several runs as papers print them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import PipeError
from logitpipe.console.advice import with_advice
from logitpipe.console.messages import caution, word_if_slow
from logitpipe.console.options import metrics_option, results_argument, table_temperature_option
from logitpipe.tables.formats import writer

if TYPE_CHECKING:
    from logitpipe.results.selection import Temperature
    from logitpipe.results.series import JoinedResults
    from logitpipe.tables.paper import Interval
    from logitpipe.tables.table import Table

FORMATS = ("table", "latex", "markdown", "csv", "html")


@click.command()
@results_argument
@metrics_option("auprc,fpr95")
@table_temperature_option(
    "A temperature for all methods, or `best`: that of each method's best AuPRC on these labels."
)
@click.option("--decimals", type=click.IntRange(0, 5), default=2, show_default=True, help="Of a per cent, at most.")
@click.option("--intervals/--no-intervals", help="Confidence intervals of 95 %, by a bootstrap over images.")
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="table", show_default=True)
def table(
    folders: tuple[Path, ...],
    metrics: tuple[str, ...],
    temperature: "Temperature",
    decimals: int,
    intervals: bool,
    format_name: str,
) -> None:
    """Print results as one table, as papers have it.

    Networks and methods go down, data sets across.
    RESULTS are folders that `pipe score --out` wrote; several are joined. No store is opened. With --temperature best
    further tables say how much of the choice will not last, and what it gives on the other data sets. Where the
    results have thresholds of other data sets (`pipe score --also transfer`), so do tables of these.

    \b
    Examples:
      pipe table results
      pipe table results more-results --format latex --decimals 1 > table.tex
      pipe table results --metrics auprc,fpr95,f1,iou --temperature best
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    from logitpipe.results.reading import read_results
    from logitpipe.tables.metrics import metrics_named
    from logitpipe.tables.paper import no_interval, paper_table

    shown = metrics_named(metrics)
    results = read_results(folders)
    words = _interval_words(results, temperature, decimals) if intervals else no_interval
    tables = [paper_table(results, shown, temperature, decimals, words)]
    if temperature == "best" and format_name != "csv":  # a CSV is one table
        tables += _behind_the_choice(results, decimals)
    if format_name != "csv":
        tables += _thresholds_elsewhere(results, temperature, decimals)
    click.echo("\n\n".join(map(writer(format_name), tables)))


def _interval_words(results: "JoinedResults", temperature: "Temperature", decimals: int) -> "Interval":
    from logitpipe.tables.uncertainty.intervals import interval_words

    with word_if_slow("drawing resamples of the images"):
        return interval_words(results, temperature, decimals)


def _behind_the_choice(results: "JoinedResults", decimals: int) -> "list[Table]":
    """Return the tables without which temperatures that were chosen on the labels should not be shown."""
    from logitpipe.tables.uncertainty.choices import optimism_tables, transfer_table

    elsewhere = transfer_table(results, decimals)
    tables = [elsewhere] if elsewhere else []
    try:
        with word_if_slow("choosing temperatures again on resamples of the images"):
            return optimism_tables(results, decimals) + tables
    except PipeError as error:
        caution(f"no optimism of the chosen temperatures: {with_advice(error)}")
        return tables


def _thresholds_elsewhere(results: "JoinedResults", temperature: "Temperature", decimals: int) -> "list[Table]":
    """Return what thresholds give that other data sets chose, as far as that was counted."""
    from logitpipe.results.benchmarks import joined
    from logitpipe.tables.thresholds import transfer_tables, transferred_at

    rows = joined(run.benchmarks for run in results.runs).transfer
    return transfer_tables(transferred_at(results, rows, temperature), decimals)

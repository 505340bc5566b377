"""The first page: every network and method on every data set, and what is best on each."""

from dataclasses import replace

from logitpipe.cache.errors import PipeError
from logitpipe.console.messages import note, word_if_slow
from logitpipe.report.markup import Html, fold, joined, tag
from logitpipe.report.tables import scroll_box
from logitpipe.results.selection import Temperature
from logitpipe.results.series import JoinedResults
from logitpipe.tables.metrics import METRICS
from logitpipe.tables.paper import paper_lines, paper_table
from logitpipe.tables.render import html
from logitpipe.tables.table import Table
from logitpipe.tables.uncertainty.choices import optimism_tables, transfer_table

SHOWN = (METRICS["auprc"], METRICS["fpr95"])
DECIMALS = 2
MOST_ROWS = 500
"""Of whose temperatures the optimism is computed while a page is made."""


def overview_section(results: JoinedResults) -> Html:
    """Return the tables over all data sets: at T = 1 where that was scored, and at each method's best T."""
    # Data sets without an anomaly, which only show how well classes are known, have no figure to be compared by.
    measured = {
        name: entries for name, entries in results.datasets.items() if any(e.row.auprc is not None for e in entries)
    }
    results = replace(results, datasets=measured or results.datasets)
    # A run of one other temperature is shown at that; a run of methods without any counts as T = 1.
    plain: Temperature = 1.0 if 1.0 in results.temperatures or not results.temperatures else results.temperatures[0]
    swept = len(results.temperatures) > 1
    return tag(
        "section",
        tag("h2", "Overview"),
        _table(results, plain),
        fold("The same at the best temperatures, and what each gives on the other data sets", _chosen(results))
        if swept
        else "",
        id="overview",
    )


def _chosen(results: JoinedResults) -> Html:
    """Return the best temperatures, never alone: how much of their gain will last, and what they give elsewhere."""
    elsewhere = transfer_table(results, DECIMALS)
    tables = [*_optimism(results), *([elsewhere] if elsewhere else [])]
    return joined(_table(results, "best"), *(scroll_box(table.title, html(table)) for table in tables))


def _optimism(results: JoinedResults) -> list[Table]:
    rows = sum(len(series.rows) for entry in results.entries for series in entry.series)
    if rows > MOST_ROWS:
        note(
            f"optimism of the best temperatures is left to `pipe table --temperature best`: {rows:,} rows take longer"
        )
        return []
    try:
        # Soon: the compiler, which may come next, lets no other thread speak for seconds.
        with word_if_slow("choosing temperatures again on resamples of the images", after=0.3):
            return optimism_tables(results, DECIMALS)
    except PipeError:  # an earlier release has left no histograms of single images
        return []


def _table(results: JoinedResults, temperature: Temperature) -> Html:
    if not paper_lines(results, temperature):
        return Html("")
    name = "All networks and methods" + (", temperatures chosen by AuPRC" if temperature == "best" else "")
    return scroll_box(name, html(paper_table(results, SHOWN, temperature, DECIMALS)))

"""`pipe table`: the results of one or several runs as papers print them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.console.options import RESULTS, metrics_option, parse_table_temperature
from logitpipe.tables.formats import writer

if TYPE_CHECKING:
    from logitpipe.results.selection import Temperature

FORMATS = ("table", "latex", "markdown", "csv", "html")


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="RESULTS...", type=RESULTS)
@metrics_option("auprc,fpr95")
@click.option(
    "--temperature",
    default="1",
    show_default=True,
    metavar="T|best",
    callback=parse_table_temperature,
    help="A temperature for all methods, or `best`: that of each method's best AuPRC on these labels.",
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
    r"""Print results as papers have them: networks and methods down, data sets across.

    RESULTS are folders that `pipe score --out` wrote; several are joined. No store is opened.

    \b
    Examples:
      pipe table results
      pipe table results more-results --format latex --decimals 1 > table.tex
      pipe table results --metrics auprc,fpr95,f1,iou --temperature best
    """
    from logitpipe.results.reading import read_results
    from logitpipe.tables.metrics import metrics_named
    from logitpipe.tables.paper import paper_table

    shown = metrics_named(metrics)
    results = read_results(folders)
    if not intervals:
        click.echo(writer(format_name)(paper_table(results, shown, temperature, decimals)))
        return
    from logitpipe.tables.intervals import interval_words

    words = interval_words(results, temperature, decimals)
    click.echo(writer(format_name)(paper_table(results, shown, temperature, decimals, words)))

"""`pipe compare`: which methods and networks differ by more than chance."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.console.messages import word_if_slow
from logitpipe.console.options import FilePath, results_argument, table_temperature_option
from logitpipe.tables.formats import writer

if TYPE_CHECKING:
    from logitpipe.results.selection import Temperature

FORMATS = ("table", "markdown", "latex", "csv")


@click.command()
@results_argument
@click.option(
    "--metric", type=click.Choice(["auprc", "fpr95", "auroc"]), default="auprc", show_default=True, help="Compared."
)
@table_temperature_option(
    "A temperature for all methods, or `best`: that of each method's best AuPRC on these labels."
)
@click.option(
    "--against", metavar="METHOD|NETWORK:METHOD", help="What all are compared with  [default: the best of them]"
)
@click.option("--all-pairs", is_flag=True, help="Compare each with each.")
@click.option("--decimals", type=click.IntRange(0, 5), default=2, show_default=True, help="Of a per cent.")
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--per-image", type=FilePath(dir_okay=False), help="Write the figures of single images as CSV.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
def compare(
    folders: tuple[Path, ...],
    metric: str,
    temperature: "Temperature",
    against: str | None,
    all_pairs: bool,
    decimals: int,
    format_name: str,
    per_image: Path | None,
    overwrite: bool,
) -> None:
    """Say which methods and networks differ, and by how much.

    RESULTS are folders that `pipe score --out` wrote; several are joined. Differences are paired: the same resamples
    of the images for all rows of a data set. No store is opened.

    \b
    Examples:
      pipe compare results
      pipe compare results --against enet:msp --metric fpr95
      pipe compare results --per-image images.csv
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    if all_pairs and against is not None:
        raise click.UsageError("--all-pairs compares each with each; leave --against out")
    from logitpipe.console.output import prepare_folder, publish, refuse_to_replace
    from logitpipe.results.per_image.sampling import sampled_by_dataset
    from logitpipe.results.reading import read_results
    from logitpipe.tables.uncertainty.differences import compared

    # Before resamples are drawn, which take seconds: damaged results, and files that cannot or must not be written.
    results = read_results(folders)
    if per_image is not None:
        refuse_to_replace([per_image], overwrite, "per-image")
        prepare_folder(per_image.parent, "per-image")
    every = sampled_by_dataset(results, temperature)
    with word_if_slow("drawing resamples of the images"):
        tables = [compared(name, each, metric, against, all_pairs, decimals) for name, each in every.items()]
    click.echo("\n\n".join(map(writer(format_name), tables)))
    if per_image is not None:
        from logitpipe.results.per_image.rows import images_as_csv
        from logitpipe.results.plain_rows import csv_bytes

        publish(per_image, csv_bytes(images_as_csv(every)), "per-image")

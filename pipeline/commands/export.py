"""`pipe export`: score maps in the files that benchmarks' own tools read."""

from pathlib import Path

import click

from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import open_store
from logitpipe.commands.completion import complete_methods
from logitpipe.commands.maps import parse_temperature
from logitpipe.console.options import (
    STORE,
    FilePath,
    map_temperature_option,
    mask_temperature_option,
    overwrite_option,
    statistics_option,
)
from logitpipe.exports.formats import EXPORTS
from logitpipe.runs.fitting import statistics_of
from logitpipe.stores.names import find_images


@click.command()
@click.argument("path", metavar="STORE", type=STORE)
@click.option(
    "--method",
    required=True,
    metavar="ID",
    help="The score, such as msp or entropy.",
    shell_complete=complete_methods,
)
@click.option("--temperature", type=float, default=1.0, show_default=True, callback=parse_temperature, metavar="T")
@map_temperature_option
@mask_temperature_option
@statistics_option
@click.option("--format", "format_name", required=True, type=click.Choice(list(EXPORTS)), help="Which tool's files.")
@click.option("--name", metavar="NAME", help="What smiyc calls the method  [default: network, method, temperature]")
@click.option("--images", "names", metavar="NAME,...", help="These images only.")
@click.option("--out", required=True, type=FilePath(file_okay=False), help="Folder for the files.")
@overwrite_option
def export(
    path: Place,
    method: str,
    temperature: float,
    map_temperature: float,
    mask_temperature: float,
    statistics: Path | None,
    format_name: str,
    name: str | None,
    names: str | None,
    out: Path,
    overwrite: bool,
) -> None:
    """Write score maps as the benchmarks' tools read them.

    A JSON file beside them says how they were made. Scores have the size of the mask. Where a format cannot hold
    them as they are, one increasing function brings those of all images into its range.

    \b
    Examples:
      pipe export enet.zarr --method msp --format smiyc --out smiyc
      pipe export eomt.zarr --method rba --temperature 0.6 --format npy --out scores
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    from logitpipe.exports.run import export_scores
    from logitpipe.stages.score.passes.maps import plan_map
    from logitpipe.stages.score.passes.spread import is_tiny
    from logitpipe.stages.score.protocols import PROTOCOLS

    store = open_store(path)
    images = list(range(len(store.schema.images))) if names is None else find_images(store, names)
    plan = plan_map(
        store.schema,
        PROTOCOLS["standard"],
        method,
        temperature,
        map_temperature,
        mask_temperature,
        statistics_of(store.schema, statistics, ()),
        is_tiny(store),
    )
    click.echo(export_scores(store, plan, format_name, images, name, out, overwrite))

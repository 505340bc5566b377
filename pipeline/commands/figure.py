"""`pipe figure`: plots for papers, from results alone."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import PipeError
from logitpipe.console.options import FilePath, overwrite_option, results_argument, table_temperature_option
from logitpipe.console.output import prepare_folder, publish, refuse_to_replace
from logitpipe.console.text import printable

if TYPE_CHECKING:
    from logitpipe.results.selection import Temperature

KINDS = ("sweep", "pr", "roc", "scores", "ranking")


@click.command()
@results_argument
@click.option("--kind", type=click.Choice(KINDS), default="sweep", show_default=True)
@click.option("--format", "file_format", type=click.Choice(["svg", "pdf", "png"]), default="svg", show_default=True)
@table_temperature_option(
    "Of all kinds but sweep: one for all methods, or `best`, that of each method's best AuPRC on these labels."
)
@click.option(
    "--size", type=click.Choice(["column", "page"]), default="page", show_default=True, help="88 or 180 mm wide."
)
@click.option("--font", type=click.Choice(["serif", "sans"]), default="serif", show_default=True)
@click.option("--out", type=FilePath(file_okay=False), help="Folder  [default: figures in RESULTS]")
@overwrite_option
def figure(
    folders: tuple[Path, ...],
    kind: str,
    file_format: str,
    temperature: "Temperature",
    size: str,
    font: str,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Draw results as papers print them.

    RESULTS are folders that `pipe score --out` wrote; several are joined. No store is opened, and the
    files that were written are printed. sweep: AuPRC and FPR95
    over temperature. pr, roc: curves. scores: how normal and anomalous pixels are spread. ranking: all methods of all
    networks on every data set.

    \b
    Examples:
      pipe figure results
      pipe figure results --kind pr --temperature best --format pdf --size column
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    from logitpipe.results.reading import read_results

    try:
        from logitpipe.pictures import plots
    except ModuleNotFoundError as error:
        raise PipeError(
            f"figures are drawn by matplotlib, which is not installed ({error})", "install", extra="'.[plot]'"
        ) from error

    results, target = read_results(folders), out or folders[0] / "figures"
    at = "" if kind == "sweep" else f"_T{temperature}" if temperature == "best" else f"_T{temperature:g}"
    with plots.in_print(font):
        drawn = {
            _safe(f"{kind}_{name}{at}") + f".{file_format}": plots.as_bytes(each, file_format)
            for name, each in plots.KINDS[kind](results, plots.WIDTHS[size], temperature)
        }
    if not drawn:
        raise PipeError(f"there is nothing to draw: no figures at this temperature, or none of several for {kind}")
    refuse_to_replace((target / name for name in drawn), overwrite)
    prepare_folder(target)
    for name, data in drawn.items():
        publish(target / name, data)
        click.echo(printable(str(target / name)))


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_")[:120]

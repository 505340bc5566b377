"""`pipe report`: the results of a run as one page that needs nothing else."""

from pathlib import Path

import click

from logitpipe.console.messages import word_if_slow
from logitpipe.console.options import FilePath, overwrite_option, results_argument
from logitpipe.console.text import printable

NAME = "report.html"


@click.command()
@results_argument
@click.option(
    "--out",
    metavar="FILE",
    type=FilePath(),
    help=f"The page to write  [default: {NAME} in the first folder]",
)
@overwrite_option
def report(folders: tuple[Path, ...], out: Path | None, overwrite: bool) -> None:
    """Make one HTML page of results.

    RESULTS are folders that `pipe score --out` wrote; several are joined. The page holds tables, figures and, as
    long as the stores can still be read, the best and worst images of each method. It is one file and needs no other.

    \b
    Examples:
      pipe report results
      pipe report results more-results --out report.html
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    with word_if_slow("reading the results", after=1.0):
        from logitpipe.report.writing import write_report
        from logitpipe.results.reading import read_results

        results = read_results(folders)
    target = out or folders[0] / NAME
    write_report(results, target, overwrite)
    click.echo(printable(str(target)))

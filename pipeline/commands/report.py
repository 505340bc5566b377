"""`pipe report`: the results of a run as one page that needs nothing else."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.console.advice import with_advice
from logitpipe.console.messages import caution, word_if_slow
from logitpipe.console.options import overwrite_option
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.console.text import printable
from logitpipe.stages.cores import available_cores

if TYPE_CHECKING:
    from logitpipe.report.markup import Html
    from logitpipe.results.series import Results

NAME = "report.html"


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="RESULTS...", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
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
    with word_if_slow("reading the results"):
        from logitpipe.report.page import page
        from logitpipe.results.reading import read_results

        results = read_results(folders)
    target = out or folders[0] / NAME
    if target.is_dir():
        raise PipeError(f"--out {target} is a folder; name the page to write, such as {target / NAME}")
    refuse_to_replace([target], overwrite)
    prepare_folder(target.parent)
    text = page(results, _galleries(results))
    try:
        Folder(target.parent).publish(target.name, text.encode())
    except OSError as error:
        raise PipeError(
            f"{target}: the page cannot be written ({error.strerror}); name another with --out"
        ) from error
    click.echo(printable(str(target)))


def _galleries(results: "Results") -> "dict[str, Html]":
    """Return the gallery of each store by its fingerprint, or the reason why it has none."""
    from logitpipe.report.gallery import gallery
    from logitpipe.report.markup import tag

    found = {}
    for entry in results.entries:
        store = entry.facts["fingerprint"]
        try:
            found[store] = gallery(entry, available_cores())
        except PipeError as error:
            caution(f"no gallery of {entry.label}: {with_advice(error)}")
            found[store] = tag("p", f"The gallery is left out: {with_advice(error)}.", class_="note")
    return found

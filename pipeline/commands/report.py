"""`pipe report`: the results of a run as one page that needs nothing else."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.console.messages import caution
from logitpipe.console.output import prepare_folder
from logitpipe.console.text import printable

if TYPE_CHECKING:
    from logitpipe.report.markup import Html
    from logitpipe.results.series import Results

NAME = "report.html"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help=f"The page to write  [default: DIR/{NAME}]"
)
def report(folder: Path, out: Path | None) -> None:
    """Make one HTML page of the results in DIR.

    DIR is what `pipe score --out DIR` wrote. The page holds tables, figures and, as long as the stores can still
    be read, the best and worst images of each method; nothing in it leads elsewhere.
    """
    from logitpipe.report.page import page
    from logitpipe.results.reading import read_results

    results = read_results(folder)
    target = out or folder / NAME
    if target.is_dir():
        raise PipeError(f"--out {target} is a folder; name the page to write, such as {target / NAME}")
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
    """Return each store's gallery, or the reason why it has none."""
    from logitpipe.report.gallery import gallery
    from logitpipe.report.markup import tag

    found = {}
    for entry in results.entries:
        store = entry.facts["store"]
        try:
            found[store] = gallery(entry, results.protocol, os.cpu_count() or 1)
        except PipeError as error:
            caution(f"no gallery of {entry.label}: {error}")
            found[store] = tag("p", f"The gallery is left out: {error}.", class_="note")
    return found

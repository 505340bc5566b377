"""`pipe pack`: a store as one zip, to carry."""

from pathlib import Path

import click

from logitpipe.cache.errors import IncompleteError
from logitpipe.cache.files.places import Place
from logitpipe.console.options import STORE, FilePath
from logitpipe.console.text import printable
from logitpipe.stores.packing import pack_store


@click.command()
@click.argument("place", metavar="STORE", type=STORE)
@click.option("--out", type=FilePath(), metavar="FILE.zip", help="The zip  [default: STORE.zip]")
@click.option("--allow-incomplete", is_flag=True, help="Pack what the store has, and exit with 3.")
def pack(place: Place, out: Path | None, allow_incomplete: bool) -> None:
    """Make one zip of a store, which every command reads.

    Each image is verified on its way into the zip, and a damaged store is not packed. What is compressed already
    is not compressed again.

    \b
    Example:
      pipe pack enet.zarr --out enet.zarr.zip
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    target, missing = pack_store(place, out, allow_incomplete)
    click.echo(printable(str(target)))
    if missing:
        raise IncompleteError(f"{missing} images were missing; the zip holds the others")

"""`pipe pack`: a store as one zip, to carry."""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from logitpipe.cache.errors import IncompleteError, PipeError
from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import Store, open_store
from logitpipe.cache.writing.pack import image_members, metadata_members, write_zip
from logitpipe.console.messages import note
from logitpipe.console.options import STORE
from logitpipe.console.progress import Progress
from logitpipe.console.text import byte_size, counted, printable
from logitpipe.stages.cores import available_cores
from logitpipe.stages.streams import ahead


@click.command()
@click.argument("place", metavar="STORE", type=STORE)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.zip", help="The zip  [default: STORE.zip]")
@click.option("--allow-incomplete", is_flag=True, help="Pack what the store has, and exit with 3.")
def pack(place: Place, out: Path | None, allow_incomplete: bool) -> None:
    """Make one zip of a store, which every command reads.

    Each image is verified on its way into the zip, and a damaged store is not packed. What is compressed already
    is not compressed again.

    \b
    Example:
      pipe pack enet.zarr --out enet.zarr.zip
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    store, out = open_store(place), out or default_zip(place)
    if not allow_incomplete:
        store.require_complete()
    images, missing = store.completed(), len(store.missing())
    size = _write(store, images, out)
    note(f"{store.schema.dataset}: {counted(len(images), 'image')}, {byte_size(size)}")
    click.echo(printable(str(out)))
    if missing:
        raise IncompleteError(f"{missing} images were missing; the zip holds the others")


def default_zip(place: Place) -> Path:
    """Return where the zip of a store goes: beside it, or into the working folder if the store is far away."""
    if isinstance(place, str):
        return Path(f"{place.rstrip('/').rpartition('/')[2]}.zip")
    named = place if place.name.strip(".") else place.resolve()
    return named.with_name(f"{named.name}.zip")


def _write(store: Store, images: Sequence[int], out: Path) -> int:
    try:
        with (
            Progress(f"packing {printable(str(store.path))}", len(images)) as progress,
            closing(_members(store, images, progress)) as members,
        ):
            return write_zip(out, members)
    except FileExistsError as error:
        raise PipeError(f"{out} exists; remove it, or name another file with --out") from error
    except OSError as error:
        raise PipeError(f"{out}: the zip cannot be written ({error.strerror})") from error


def _members(store: Store, images: Sequence[int], progress: Progress) -> Generator[Mapping[str, bytes]]:
    workers = available_cores()
    yield metadata_members(store)
    with ThreadPoolExecutor(workers) as pool:
        for members in ahead(pool, partial(image_members, store), images, workers):
            yield members
            progress.advance()

"""A store as one zip: every image is verified on its way into it."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import Store, open_store, readers
from logitpipe.cache.writing.pack import image_members, metadata_members, write_zip
from logitpipe.console.messages import note
from logitpipe.console.output import refuse_in_store
from logitpipe.console.progress import Progress
from logitpipe.console.text import byte_size, counted, printable
from logitpipe.stages.cores import available_cores
from logitpipe.stages.streams import in_order


def pack_store(place: Place, out: Path | None, allow_incomplete: bool) -> tuple[Path, int]:
    """Write the zip of a store; return where it lies, and how many images the store lacks.

    Parameters
    ----------
    out : where it goes; None: see `default_zip`

    Raises
    ------
    IncompleteError
        Images are missing, and that is not allowed.
    PipeError
        The store is damaged, something lies at `out`, or the zip cannot be written.
    """
    store, target = open_store(place), out or default_zip(place)
    if not allow_incomplete:
        store.require_complete()
    refuse_in_store(target.parent)
    images, missing = store.completed(), len(store.missing())
    size = _write(store, images, target)
    note(f"{store.schema.dataset}: {counted(len(images), 'image')}, {byte_size(size)}")
    return target, missing


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
        raise PipeError(f"{out} exists", "remove-or-other-out") from error
    except OSError as error:
        raise PipeError(f"{out}: the zip cannot be written ({error.strerror})") from error


def _members(store: Store, images: Sequence[int], progress: Progress) -> Generator[Mapping[str, bytes]]:
    yield metadata_members(store)
    for members in in_order(partial(image_members, store), images, readers(store, available_cores())):
        yield members
        progress.advance()

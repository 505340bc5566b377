"""`pipe infer --repair`: damaged metadata is written anew, and damaged images are told and found for the run."""

from collections.abc import Collection, Iterable
from pathlib import Path

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.cache.files.places import Place
from logitpipe.cache.format import Schema, version1
from logitpipe.cache.reading.verify import Damage
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.cache.writing.repair import mend_arrays, mend_group
from logitpipe.console.messages import caution, note
from logitpipe.console.text import counted
from logitpipe.stores.checking import check_images, damage_line
from logitpipe.stores.room import warn_unlocked


def open_mended(path: Place, schema: Schema, earlier: version1.Schema | None) -> StoreWriter:
    """Open a store for writing after its damaged metadata was written anew, where that can be.

    Raises
    ------
    IntegrityError
        The metadata is damaged beyond that; the message says what to do.
    UsageError
        The store is no folder.
    PipeError
        Something else lies at `path`, or a store that another run would have given; or someone is writing it, or it
        cannot be written.
    """
    if not isinstance(path, Path):
        raise UsageError(f"--repair mends stores in folders, and {path} is a URL; copy the store, and mend the copy")
    try:
        _tell(path, mend_group(path, schema, *([earlier] if earlier else [])))
        writer = StoreWriter(path, schema, on_unlocked=lambda: warn_unlocked(path), earlier=earlier)
        _tell(path, mend_arrays(path) if writer.store else [])
    except OSError as error:
        raise PipeError(f"{path}: its metadata cannot be written ({error.strerror}); set that right") from error
    return writer


def find_damaged(writer: StoreWriter, images: Collection[int]) -> list[int]:
    """Return which of the images are in the store and damaged, and say on stderr what is wrong with each."""
    if writer.store is None:
        return []
    committed = [image for image in writer.store.completed() if image in images]
    checks = dict(zip(committed, check_images(writer.store, committed), strict=True))
    for check in checks.values():
        for damage in check.damages:
            caution(damage_line(writer.path, damage))
    # Told, and not removed: a damaged image goes when it is written anew, and not before.
    damaged = [image for image, check in checks.items() if check.damages]
    verdict = f"{counted(len(damaged), 'image')} damaged and computed again" if damaged else "no image is damaged"
    note(f"{writer.path}: {counted(len(committed), 'image')} read: {verdict}")
    return damaged


def _tell(path: Path, mended: Iterable[Damage]) -> None:
    for damage in mended:
        caution(f"{damage_line(path, damage)}; written anew")

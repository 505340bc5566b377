"""A word about a drive that may become full, or that cannot lock files."""

from collections.abc import Sequence
from pathlib import Path

from logitpipe.cache.files.places import Place
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.cache.writing.space import free_bytes, most_image_bytes, occupied_bytes
from logitpipe.console.messages import caution
from logitpipe.console.text import byte_size, counted


def warn_unlocked(place: Place) -> None:
    """Say on stderr that nothing keeps two commands from writing the same images of a store."""
    caution(
        f"{place}: files cannot be locked on this drive; take care that no two commands write the same images at once"
    )


def warn_of_little_room(writers: Sequence[StoreWriter], images: Sequence[int]) -> None:
    """Say on stderr if the stores may need more than is free; they lie side by side, on one file system.

    A bucket has room for whatever is paid for.

    Parameters
    ----------
    writers : of the stores
    images : how many images each of them lacks
    """
    paths = [writer.path for writer in writers if isinstance(writer.path, Path)]
    if not paths:
        return
    needed = sum(count * most_image_bytes(writer.schema) for writer, count in zip(writers, images, strict=True))
    # What an overwritten store gives back counts as free, although that happens only with the first commit.
    given_up = sum(occupied_bytes(path) for path in paths if writers[0].overwrite)
    free, place = free_bytes(paths[0]) + given_up, paths[0].parent
    # A caution and no refusal: logits compress, and nobody knows how well before they are there.
    if needed > free:
        caution(
            f"{place}: {counted(sum(images), 'image')} may need {byte_size(needed)}, should they not compress, and "
            f"{byte_size(free)} are free; a full disk ends the run, and it goes on after room is made"
        )

"""Resuming: which images are left to compute, and whether the files of the committed ones have changed."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from logitpipe.cache.errors import IncompleteError, IntegrityError, PipeError
from logitpipe.cache.reading.store import Store
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.cache.writing.space import FULL, free_bytes, most_image_bytes
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.imagefile import file_stamp, read_bytes
from logitpipe.stages.infer.data.layout import Sample
from logitpipe.stages.infer.data.preprocess import sha256
from logitpipe.stages.streams import ahead, thread_pool

CHECKERS = 8
"""Threads that look at records and files: they wait for the disk, and hashing lets the others run."""


def of_shard(writer: StoreWriter, shard: tuple[int, int]) -> list[int]:
    """Return the images of a shard (I, N): every N-th from the I-th on, so that shards are of one mixture."""
    index, count = shard
    # Depends on the whole list and not on what is missing: parallel shards never take the same image.
    return list(range(index, len(writer.schema.images), count))


def remaining(writer: StoreWriter, shard: tuple[int, int] = (0, 1), damaged: Collection[int] = ()) -> list[int]:
    """Return the images that a run has to compute: those of its shard that the store lacks, and damaged ones."""
    # Asked of the store anew, and not remembered: other commands may have added images since it was opened.
    sound = set(writer.completed()) - set(damaged)
    return [image for image in of_shard(writer, shard) if image not in sound]


def refuse_changed(
    writer: StoreWriter,
    dataset: DataSet,
    repair: bool = False,
    shard: tuple[int, int] = (0, 1),
) -> None:
    """Refuse to go on with a store of which a committed image came from other files than lie there now.

    A file whose size and time of change are those that the record has is taken to be the same; only of others the
    content is read. Of a shard only its own images are looked at.

    Parameters
    ----------
    repair : pass over records that cannot be read, as their images are to be computed again
    shard : whose images

    Raises
    ------
    PipeError
        A picture or a mask has changed; the message names it.
    IntegrityError
        A record is damaged.
    """
    if writer.store is None:
        return
    store, mine = writer.store, set(of_shard(writer, shard))

    def check(image: int) -> None:
        _refuse_changed(writer, store, image, dataset.samples[image], repair)

    with thread_pool(CHECKERS) as pool:
        for _ in ahead(pool, check, (image for image in store.completed() if image in mine), 4 * CHECKERS):
            pass


def _refuse_changed(writer: StoreWriter, store: Store, image: int, sample: Sample, repair: bool) -> None:
    committed = _sources(store, image, repair)
    # Hashes of files cannot tell that a mask was added or removed, so that is asked first.
    if committed and ("mask_sha256" in committed) != (sample.mask is not None):
        had, has = ("with", "none lies") if sample.mask is None else ("without", "one lies")
        raise PipeError(
            f"{writer.path}: image {sample.name!r} was computed {had} a mask, and {has} there now", "changed-data"
        )
    for source, path in (("image", sample.image), ("mask", sample.mask)):
        digest = committed.get(f"{source}_sha256")
        if path is None or digest is None or committed.get(f"{source}_stamp") == file_stamp(path):
            continue
        # The stamp differs, but a copied file has another time and the same content: only the content decides.
        if sha256(read_bytes(path)) != digest:
            raise PipeError(
                f"{writer.path}: image {sample.name!r} was computed from another {path} than lies there now",
                "changed-data",
            )


def _sources(store: Store, image: int, repair: bool) -> Mapping[str, str]:
    try:
        return store.record(image).sources
    except IncompleteError:  # since it was listed, another process has begun to replace it
        return {}
    except IntegrityError as error:
        if repair:
            return {}
        raise IntegrityError(error.fault, error.store, error.image, error.file, "repair-image") from error


def how_to_go_on(writers: Sequence[StoreWriter]) -> str:
    """Return the remedy that continues a run: one that overwrites must not do so twice."""
    # Overwriting once more would remove the images that this run has committed.
    return "go-on-kept" if any(writer.overwrite and writer.store for writer in writers) else "go-on"


def unwritable(writer: StoreWriter, image: int, images: Collection[int], error: OSError) -> PipeError:
    """Return the error for an image that cannot be written; on a full disk it says how much room is missing.

    Parameters
    ----------
    image : that failed
    images : all that the run had to compute
    """
    name, then = writer.schema.images[image], how_to_go_on([writer])
    failed = f"{writer.path}: image {name!r} cannot be written ({error.strerror})"
    if error.errno not in FULL or not isinstance(writer.path, Path):
        return PipeError(failed, "set-right", then=then)
    each, left = most_image_bytes(writer.schema), len(set(images) - set(writer.completed()))
    return PipeError(
        f"{failed}: {_megabytes(free_bytes(writer.path))} are free, an image takes up to {_megabytes(each)}, and the "
        f"{left} that are left up to {_megabytes(left * each)}",
        "make-room",
        then=then,
    )


def require_committed(writer: StoreWriter, images: Collection[int]) -> None:
    """Check that every image that a run has computed is in the store.

    Raises
    ------
    IncompleteError
        An image is missing: another process removed it, or a worker died without a word.
    """
    if lost := set(images) - set(writer.completed()):
        names = ", ".join(repr(writer.schema.images[image]) for image in sorted(lost)[:3])
        raise IncompleteError(
            f"{writer.path}: {len(lost)} of {len(images)} images were computed and are not in the store "
            f"({names}{', ...' if len(lost) > 3 else ''})",
            how_to_go_on([writer]),
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"

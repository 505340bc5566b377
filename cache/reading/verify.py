"""Verification of a store: read every byte and list all damages; `Store.read` stops at the first."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from logitpipe.cache.errors import IncompleteError, IntegrityError, PipeError, UnreachableError
from logitpipe.cache.format import records
from logitpipe.cache.format.chunks import CHUNKS, image_chunks
from logitpipe.cache.format.codec import decode_committed
from logitpipe.cache.format.documents import loads
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.keys import LOCK, METADATA
from logitpipe.cache.format.records import ArrayRecord, Record, digest
from logitpipe.cache.format.schema import ArraySpec, canonical
from logitpipe.cache.reading.store import Store, chunk_keys

OTHER_CHUNKS = "the completion record lists other chunks than the store's arrays have"


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a store.

    Parameters
    ----------
    file : key of the file, or of the folder where no single file is to blame
    image : name of the image that is lost by it; None for metadata, which belongs to all
    kind : what is wrong
    """

    file: str
    image: str | None
    kind: str


@dataclass
class ImageCheck:
    """What reading all of one image found.

    Parameters
    ----------
    name : of the image
    committed : whether it has a completion record; without one it is not in the store, and nothing of it is read
    chunks : chunks read
    stored : their bytes on disk
    damages : all that is wrong, in the order of the store's arrays
    """

    name: str
    committed: bool = True
    chunks: int = 0
    stored: int = 0
    damages: list[Damage] = field(default_factory=list)

    def add(self, file: str, kind: str) -> None:
        """Note a damage."""
        self.damages.append(Damage(file, self.name, kind))


def check_metadata(store: Store) -> list[Damage]:
    """Return what is wrong with the arrays' own metadata; the group's was checked when the store was opened."""
    return [
        Damage(key, None, kind)
        for array, spec in store.arrays.items()
        if (kind := _metadata_fault(store, key := f"{array}/{METADATA}", spec))
    ]


def check_image(store: Store, image: int) -> ImageCheck:
    """Read all of one image and hold it against its completion record and against what a store may contain.

    A damaged record is the only finding where there is one, as nothing is left to hold the chunks against. A server
    that does not answer is no finding but an error: the image may be sound.

    Parameters
    ----------
    store : the store
    image : index of the image
    """
    check = ImageCheck(store.schema.images[image])
    try:
        record = _record(store, image)
    except IncompleteError:
        check.committed = False
        return check
    except UnreachableError:
        raise
    except PipeError as error:
        check.add(records.key(image), fault_of(error))
        return check
    geometry, fault = _geometry(store, image, record)
    # Without this, a record that lists fewer chunks would leave parts of `out` unwritten and unchecked.
    if geometry and not _lists_all(store, record, geometry):
        check.add(records.key(image), OTHER_CHUNKS)
        return check
    for array, spec in store.arrays.items():
        values = _read_all(store, check, array, image, record, geometry)
        if values is not None and geometry:
            for kind in _value_faults(values, record.arrays[array], spec):
                check.add(spec.separator.join([f"{array}/{CHUNKS}", str(image)]), kind)
    if fault and not check.damages:  # each chunk of its sizes is as committed, and what they say cannot be
        check.add(fault.file or records.key(image), fault.fault)
    return check


def _geometry(store: Store, image: int, record: Record) -> tuple[Geometry | None, IntegrityError | None]:
    """Return the sizes of an image, or why there are none."""
    try:
        return store.image(image, record), None
    except IntegrityError as error:
        return None, error


def stray_files(store: Store) -> list[str]:
    """Return the keys of files that are no part of the format, sorted; they do no harm.

    A web server cannot be asked for them.
    """
    images = range(len(store.schema.images))
    known = {METADATA, LOCK, *store.schema.documents(), *map(records.key, images)}
    for array, spec in store.arrays.items():
        known |= {f"{array}/{METADATA}", *chunk_keys(array, spec, images)}
    return sorted(set(store.files.all_keys()) - known)


def fault_of(error: PipeError) -> str:
    """Return the fault without its place: a `Damage` has fields for that."""
    return error.fault if isinstance(error, IntegrityError) else str(error)


def _metadata_fault(store: Store, key: str, spec: ArraySpec) -> str | None:
    try:
        data = store.files.read(key)
        if data is None:
            return "the file is missing"
        if canonical(loads(data)) == canonical(spec.metadata()):  # as text, since 1 == 1.0 == True
            return None
    except UnreachableError:
        raise
    except PipeError as error:
        return fault_of(error)
    except (ValueError, RecursionError) as error:
        return f"the file is not JSON ({error})"
    return f"the array is not described as the attributes in {METADATA} imply"


def _record(store: Store, image: int) -> Record:
    """Return an image's record, sure to name chunks of each array, and none that an image cannot have."""
    # The record's key sets are held against the arrays first: what follows indexes both by array name.
    record = store.record(image)
    possible = {name: set(chunk_keys(name, spec, [image])) for name, spec in store.arrays.items()}
    listed = {name: {f"{name}/{key}" for key in array.chunks} for name, array in record.arrays.items()}
    if listed.keys() != possible.keys() or not all(listed[a] <= possible[a] for a in possible):
        raise IntegrityError(OTHER_CHUNKS)
    return record


def _lists_all(store: Store, record: Record, geometry: Geometry) -> bool:
    """Return whether a record names exactly the chunks that an image of these sizes has."""
    for array, spec in store.arrays.items():
        extent = store.schema.extent(array, geometry)
        keys = {key for key, _ in image_chunks(record.image, (1, *extent), spec.chunks, spec.separator)}
        if record.arrays[array].chunks.keys() != keys:
            return False
    return True


def _read_all(
    store: Store, check: ImageCheck, array: str, image: int, record: Record, geometry: Geometry | None
) -> np.ndarray | None:
    """Return one image's part of an array; None, and every cause noted, where it cannot be put together.

    Where the image's sizes are not known, what its record lists is read all the same.
    """
    spec, committed = store.arrays[array], record.arrays[array]
    extent = store.schema.extent(array, geometry) if geometry else spec.image_shape
    # One image's damages go to one list. Compare the count, so that an earlier array's damage does not discard this
    # one.
    out, before = np.empty(extent, spec.dtype), len(check.damages)
    chunks = image_chunks(image, (1, *extent), spec.chunks, spec.separator)
    for key, cut in ((key, cut) for key, cut in chunks if key in committed.chunks):
        file = f"{array}/{key}"
        try:
            target = out[cut]
            data = store.files.read(file)
            # Counted before decoding: a damaged chunk was read too.
            check.chunks += data is not None
            check.stored += len(data or b"")
            chunk = decode_committed(
                data, committed.chunks[key], spec.chunks[1:], spec.dtype, store.schema.chunk_hash
            )
            target[...] = chunk[tuple(slice(0, size) for size in target.shape)]
        except UnreachableError:
            raise
        except PipeError as error:
            check.add(file, fault_of(error))
    return out if len(check.damages) == before else None


def _value_faults(values: np.ndarray, committed: ArrayRecord, spec: ArraySpec) -> Iterator[str]:
    """Yield what is wrong with values whose chunks are all as they were committed."""
    if committed.sha256 is not None and digest(values) != committed.sha256:
        yield "the values do not have the digest that the completion record names"
    if spec.dtype.kind == "f" and (broken := values.size - np.count_nonzero(np.isfinite(values))):
        yield f"finite logits were expected, {broken} of {values.size} are NaN or infinite"

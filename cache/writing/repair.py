"""Damaged metadata, written anew where nothing else can have stood there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.files.folder import PARTIAL, Folder
from logitpipe.cache.files.steps import step
from logitpipe.cache.format import Schema, records, version2
from logitpipe.cache.format.documents import loads
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.format.schema import metadata_bytes
from logitpipe.cache.reading.store import open_store
from logitpipe.cache.reading.verify import Damage, check_metadata, fault_of
from logitpipe.cache.writing.create import lock_all

Found = TypeVar("Found")

Remedies = list[tuple[Damage, bytes]]
"""What is wrong, and what the file should hold."""


def mend_group(path: Path, *schemas: Schema) -> list[Damage]:
    """Write the group's metadata anew if it is damaged or gone and was what a run would write now.

    The completion records decide: they carry the fingerprint of the attributes. Where there is neither metadata nor a
    record, there is nothing to mend.

    Parameters
    ----------
    path : the store's folder, or where one will be
    schemas : of the run; more than one where it may go on with a store of an earlier format version

    Returns
    -------
    what was wrong and is mended

    Raises
    ------
    IntegrityError
        The records belong to another run, or none can be read: nothing tells what the store was.
    PipeError
        Someone is writing the store.
    """
    return _mend(path, lambda: _group_remedies(path, schemas))


def mend_arrays(path: Path) -> list[Damage]:
    """Write the damaged metadata of a store's arrays anew, as the group's attributes imply it; return what was wrong.

    Raises
    ------
    PipeError
        Someone is writing the store.
    """
    return _mend(path, lambda: _array_remedies(path))


def _mend(path: Path, find: Callable[[], Remedies]) -> list[Damage]:
    """Apply what is found while nobody else writes or mends the store; look first, as a sound one needs no lock."""
    # Looked at without the lock first: a sound store is not locked, so several runs may start on it at once.
    if not find():
        return []
    lock = lock_all(path, "mended")
    try:
        remedies = find()  # until now, another may have mended or replaced it
        for damage, data in remedies:
            Folder(path).publish(damage.file, data)
            # Where files cannot be locked, a half-written file may belong to a living writer.
            if lock.effective:
                _sweep_halves(path / damage.file)
    finally:
        lock.release()
    return [damage for damage, _ in remedies]


def _sweep_halves(file: Path) -> None:
    """Remove what was half-written when it was last mended."""
    for left in file.parent.glob(f"{file.name}.*{PARTIAL}"):
        step("sweep.file", left)
        left.unlink(missing_ok=True)


def _group_remedies(path: Path, schemas: Sequence[Schema]) -> Remedies:
    try:
        open_store(path)
    except PipeError as error:
        fault = error
    else:
        return []
    files = Folder(path)
    # The attributes are damaged, so they cannot say which run made the store. The records' fingerprints can:
    # SHA-256 of the undamaged attributes.
    carried = set(_fingerprints(files, schemas[0]))
    for candidate in (found for schema in schemas for found in _candidates(files, schema)):
        if candidate.attributes()["fingerprint"] in carried:
            return _rewritten(files, candidate, fault)
    if carried:
        raise IntegrityError(
            f"{fault_of(fault)}. The completion records belong to other metadata than this run would write, so "
            "nothing was mended",
            path,
            file=METADATA,
            remedy="same-run-or-overwrite",
        )
    if isinstance(fault, IntegrityError):
        raise IntegrityError(
            f"{fault.fault}. No completion record can be read, so nothing tells what the store was",
            path,
            file=METADATA,
            remedy="overwrite-or-remove",
        )
    return []


def _rewritten(files: Folder, schema: Schema, fault: PipeError) -> Remedies:
    """Return what the files that describe the group should hold, of those that hold something else."""
    wanted = {**schema.documents(), METADATA: metadata_bytes(schema.metadata())}
    blamed = fault.file if isinstance(fault, IntegrityError) else METADATA
    return [
        (Damage(key, None, fault_of(fault) if key == blamed else "it does not belong to the metadata"), data)
        for key, data in wanted.items()
        if _read(files, key) != data
    ]


def _read(files: Folder, key: str) -> bytes | None:
    """Return the bytes under a key, None also where they cannot be read."""
    try:
        return files.read(key)
    except PipeError:
        return None


def _array_remedies(path: Path) -> Remedies:
    store = open_store(path)
    arrays = {f"{name}/{METADATA}": spec for name, spec in store.arrays.items()}
    return [(damage, metadata_bytes(arrays[damage.file].metadata())) for damage in check_metadata(store)]


def _fingerprints(files: Folder, schema: Schema) -> Iterator[str]:
    """Yield the fingerprint of each record that can be read."""
    for image in range(len(schema.images)):
        data = files.read(records.key(image))
        try:
            if data is not None:
                yield records.parse(data).fingerprint
        except IntegrityError:
            continue


def _candidates(files: Folder, schema: Schema) -> Iterator[Schema]:
    """Yield what the metadata may have been: the run's own, or that of the same run with other software or chunks."""
    software = _told(files, METADATA, lambda found: dict(found["attributes"]["software"]))
    for cut in (schema, *_cut_as_found(files, schema)):
        yield cut
        if software is not None:
            with suppress(ValueError, TypeError):  # no run can have had that
                yield replace(cut, software=software)


def _cut_as_found(files: Folder, schema: Schema) -> Iterator[Schema]:
    """Yield the run's metadata with the chunks that the array of logits has: other releases cut it in other ways."""
    array = f"{'logits' if schema.kind == 'pixel' else 'mask_logits'}/{METADATA}"
    rows = _told(files, array, lambda found: found["chunk_grid"]["configuration"]["chunk_shape"][-2])
    if rows is not None and isinstance(schema, version2.Schema):
        with suppress(ValueError, TypeError):  # no store can be cut like this
            yield replace(schema, chunk_rows=rows)


def _told(files: Folder, key: str, take: Callable[[Any], Found]) -> Found | None:
    """Return what is taken from a JSON file that may be damaged; None where it cannot be."""
    try:
        return take(loads(_read(files, key) or b""))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None

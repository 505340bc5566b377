"""Damaged metadata, written anew where nothing else can have stood there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cache import records
from cache.errors import IntegrityError, PipeError
from cache.files import Folder
from cache.schema import Schema, metadata_bytes
from cache.store import METADATA, Store, open_store
from cache.verify import Damage, check_metadata


def mend_group(path: Path, schema: Schema) -> list[Damage]:
    """Write the group's metadata anew if it is damaged or gone and was what a run would write now.

    The completion records decide: they carry the fingerprint of the attributes. Where there is neither metadata nor a
    record, there is nothing to mend.

    Parameters
    ----------
    path : the store's folder, or where one will be
    schema : of the run

    Returns
    -------
    what was wrong and is mended

    Raises
    ------
    IntegrityError
        The records belong to another run, or none can be read: nothing tells what the store was.
    """
    try:
        open_store(path)
    except PipeError as error:
        fault = error
    else:
        return []
    files = Folder(path)
    carried = set(_fingerprints(files, schema))
    for candidate in _candidates(files, schema):
        if candidate.attributes()["fingerprint"] in carried:
            files.publish(METADATA, metadata_bytes(candidate.metadata()))
            return [Damage(METADATA, None, str(fault).removeprefix(f"{path}: "))]
    if carried:
        raise IntegrityError(
            f"{fault}. The completion records belong to other metadata than this run would write, so nothing was "
            "mended: call `pipe infer` as when the store was made, or start anew with --overwrite"
        )
    if isinstance(fault, IntegrityError):
        raise IntegrityError(
            f"{fault}. No completion record can be read, so nothing tells what the store was: "
            "start anew with --overwrite, or remove the folder"
        )
    return []


def mend_arrays(path: Path, store: Store) -> list[Damage]:
    """Write the damaged metadata of arrays anew, as the group's attributes imply it; return what was wrong.

    Parameters
    ----------
    path : the store's folder
    store : what it describes
    """
    damages, files = check_metadata(store), Folder(path)
    for damage in damages:
        array = damage.file.removesuffix(f"/{METADATA}")
        files.publish(damage.file, metadata_bytes(store.arrays[array].metadata()))
    return damages


def _fingerprints(files: Folder, schema: Schema) -> Iterator[str]:
    """Yield the fingerprint of each record that can be read."""
    for image in range(len(schema.images)):
        data = files.read(records.key(image))
        try:
            if data is not None:
                yield records.parse(data, "").fingerprint
        except IntegrityError:
            continue


def _candidates(files: Folder, schema: Schema) -> Iterator[Schema]:
    """Yield what the metadata may have been: the run's own, or that of the same run with other software."""
    yield schema
    try:
        software = json.loads(files.read(METADATA) or b"")["attributes"]["software"]
        yield replace(schema, software=dict(software))
    except (ValueError, KeyError, TypeError, RecursionError):
        return

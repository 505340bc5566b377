"""How an image enters a store: chunks first, each durable and read back, its completion record last."""

import contextlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cache import records
from cache.codec import Encoded, decode, encode
from cache.errors import IntegrityError, PipeError
from cache.files import PARTIAL, Folder, make_folders, sync_folder
from cache.records import ArrayRecord, Record, digest
from cache.schema import FORMAT, VOID_LABEL, ArraySpec, Schema
from cache.store import METADATA, Store, open_store
from cache.tiles import CHUNKS, image_chunks


class StoreWriter:
    """Commits images to the store at `path`, which comes into being with the first of them.

    Parameters
    ----------
    path : the store's folder
    schema : what the store must be; an existing store that differs is refused
    overwrite : replace what store there is, but not before the first image is committed

    Raises
    ------
    PipeError
        Something else lies at `path`, or a store that another run would have given.
    """

    def __init__(self, path: Path, schema: Schema, overwrite: bool = False) -> None:
        self.path, self.schema, self.overwrite = path, schema, overwrite
        self.files = Folder(path)
        self.store: Store | None = None
        if overwrite:
            _require_removable(path)
        elif (path / METADATA).exists():
            self.store = self._existing()
        else:
            _require_free(path)

    def completed(self) -> list[int]:
        """Return the indices of the images that need no work."""
        return self.store.completed() if self.store else []

    def commit(self, image: int, values: Mapping[str, np.ndarray], sources: Mapping[str, str]) -> None:
        """Add one image: all of it, or after any failure none of it, not even what was there of it before.

        Parameters
        ----------
        image : index in the schema's `images`
        values : each array's part, in the dtype and shape that the schema says; `labels` at the mask's own size
        sources : SHA-256 of the files that the image came from, kept in its record

        Raises
        ------
        IntegrityError
            What was written did not read back as it was.
        """
        self.store = store = self.store or self._created()
        parts = self._with_padded_labels(values)
        for name, spec in store.arrays.items():
            _require_fit(name, parts[name], spec)
        self.files.remove(records.key(image))  # while its chunks are replaced, the image must not count as there
        written = {name: _write(self.files, name, image, parts[name], spec) for name, spec in store.arrays.items()}
        record = Record(image, self.schema.images[image], store.fingerprint, dict(sources), written)
        self.files.publish(records.key(image), record.to_bytes())

    def _with_padded_labels(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        labels = values["labels"]
        if labels.dtype != np.uint8:  # the assignment below would convert, and change codes
            raise ValueError(f"labels: uint8 expected, {labels.dtype} given")
        padded = np.full(self.schema.label_shape, VOID_LABEL, np.uint8)
        padded[: labels.shape[0], : labels.shape[1]] = labels
        return {**values, "labels": padded, "label_size": np.array(labels.shape, np.int32)}

    def _existing(self) -> Store:
        store = open_store(self.path)
        if differences := store.schema.differences(self.schema):
            raise PipeError(
                f"{self.path} holds the logits of another run: {'; '.join(differences)}. "
                "Choose another --out, or start anew with --overwrite"
            )
        return store

    def _created(self) -> Store:
        """Build the empty store beside its place and rename it there, so that no one ever sees half of it."""
        place = self.path.resolve()
        make_folders(place.parent)
        partial = _beside(place)
        try:
            files = Folder(partial)
            for name, spec in self.schema.arrays().items():
                files.publish(f"{name}/{METADATA}", _json(spec.metadata()))
                make_folders(partial / name / CHUNKS)
            make_folders(partial / records.FOLDER)
            files.publish(METADATA, _json(self.schema.metadata()))
            if self.overwrite:
                remove_store(place)
            _take_place(partial, place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return self._existing()


def remove_store(path: Path) -> None:
    """Remove a store, damaged or not, and nothing else.

    Raises
    ------
    PipeError
        Something else lies at `path`; an empty folder may, and stays.
    """
    place = path.resolve()
    if _require_removable(path):
        doomed = _beside(place)
        place.rename(doomed)
        shutil.rmtree(doomed)


def _require_removable(path: Path) -> bool:
    """Return whether there is a store to remove; refuse a place where anything else lies."""
    place = path.resolve()
    metadata = Folder(place).read(METADATA)
    if metadata is None or place == Path.cwd():
        _require_free(path)
        return False
    if FORMAT.encode() not in metadata:
        raise PipeError(f"{path}: the folder was expected to be a logit store and is none, so it was not removed")
    return True


def _require_free(path: Path) -> None:
    """Refuse a place where no store can be made; the working folder cannot be replaced under its processes."""
    if (path.exists() and not (path.is_dir() and not any(path.iterdir()))) or path.resolve() == Path.cwd():
        raise PipeError(
            f"{path}: a store can only be made where nothing or an empty folder lies, and not in the working folder "
            "itself; choose another --out"
        )


def _beside(place: Path) -> Path:
    """Return a fresh name in the same folder, from and to which a rename is one step."""
    return place.with_name(f"{place.name}.{uuid.uuid4().hex}{PARTIAL}")


def _take_place(partial: Path, place: Path) -> None:
    """Rename a finished store to its place; where another process of the same run was first, its store serves."""
    with contextlib.suppress(OSError):
        place.rmdir()  # an empty folder may lie there, and not every system renames onto one
    try:
        partial.rename(place)
    except OSError:
        if not (place / METADATA).exists():
            raise
    sync_folder(place.parent)


def _require_fit(array: str, values: np.ndarray, spec: ArraySpec) -> None:
    if values.shape != spec.image_shape or values.dtype != spec.dtype:
        raise ValueError(f"{array}: {spec.dtype} {spec.image_shape} expected, {values.dtype} {values.shape} given")


def _write(files: Folder, array: str, image: int, values: np.ndarray, spec: ArraySpec) -> ArrayRecord:
    checksums = {}
    for key, extent in image_chunks(image, spec.shape, spec.chunks):
        chunk = _whole_chunk(values[extent], spec)
        encoded = encode(chunk)
        files.publish(f"{array}/{key}", encoded.data)
        _read_back(files, f"{array}/{key}", encoded, chunk)
        checksums[key] = encoded.checksum
    return ArrayRecord(digest(values), checksums)


def _whole_chunk(part: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Pad a piece at the lower edge to a full chunk, as Zarr's regular grid wants it, in C order."""
    missing = [(0, full - size) for full, size in zip(spec.chunks[1:], part.shape, strict=True)]
    return np.ascontiguousarray(np.pad(part, missing) if np.any(missing) else part)


def _read_back(files: Folder, key: str, encoded: Encoded, chunk: np.ndarray) -> None:
    """Hold what lies on disk, and what that decodes to, against what was to be written."""
    decoded = decode(encoded, chunk.shape, chunk.dtype)
    same = np.array_equal(decoded.view(np.uint8), chunk.view(np.uint8))  # as bytes: NaN equals nothing, -0 equals 0
    if files.read(key) != encoded.data or not same:
        raise IntegrityError(f"{files.root / key}: what was written does not read back as it was")


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=1).encode()

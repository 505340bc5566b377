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
from cache.schema import VOID_LABEL, ArraySpec, Schema
from cache.store import METADATA, Store, open_store
from cache.tiles import image_chunks


class StoreWriter:
    """Commits images to the store at `path`, which comes into being with the first of them.

    Parameters
    ----------
    path : the store's folder
    schema : what the store must be; an existing store that differs is refused

    Raises
    ------
    PipeError
        Something else lies at `path`, or a store that another run would have given.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path, self.schema = path, schema
        self.store: Store | None = self._existing() if path.exists() else None

    def completed(self) -> list[int]:
        """Return the indices of the images that need no work."""
        return self.store.completed() if self.store else []

    def commit(self, image: int, values: Mapping[str, np.ndarray], sources: Mapping[str, str]) -> None:
        """Add one image: all of it, or after any failure none of it.

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
        written = {name: _write(store.files, name, image, parts[name], spec) for name, spec in store.arrays.items()}
        record = Record(image, self.schema.images[image], store.fingerprint, dict(sources), written)
        store.files.publish(records.key(image), record.to_bytes())

    def _with_padded_labels(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        labels = values["labels"]
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
        make_folders(self.path.parent)
        partial = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            files = Folder(partial)
            for name, spec in self.schema.arrays().items():
                files.publish(f"{name}/{METADATA}", _json(spec.metadata()))
            files.publish(METADATA, _json(self.schema.metadata()))
            with contextlib.suppress(OSError):  # another process of the same run was first: its store serves
                partial.rename(self.path)
            sync_folder(self.path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return self._existing()


def remove_store(path: Path) -> None:
    """Remove a store, and nothing else: a folder that is not a logit store is refused with a PipeError."""
    if path.exists():
        # A damaged store may be removed; a folder that never was one raises a plain PipeError.
        with contextlib.suppress(IntegrityError):
            open_store(path)
        doomed = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
        path.rename(doomed)
        shutil.rmtree(doomed)


def _write(files: Folder, array: str, image: int, values: np.ndarray, spec: ArraySpec) -> ArrayRecord:
    if values.shape != spec.image_shape or values.dtype != spec.dtype:
        raise ValueError(f"{array}: {spec.dtype} {spec.image_shape} expected, {values.dtype} {values.shape} given")
    checksums = {}
    for key, extent in image_chunks(image, spec.shape, spec.chunks):
        chunk = _whole_chunk(values[extent], spec)
        encoded = encode(chunk)
        files.publish(f"{array}/{key}", encoded.data)
        _read_back(files, f"{array}/{key}", chunk)
        checksums[key] = encoded.checksum
    return ArrayRecord(digest(values), checksums)


def _whole_chunk(part: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Pad a piece at the lower edge to a full chunk, as Zarr's regular grid wants it."""
    shape = spec.chunks[1:]
    if part.shape == shape:
        return part
    return np.pad(part, [(0, full - size) for full, size in zip(shape, part.shape, strict=True)])


def _read_back(files: Folder, key: str, expected: np.ndarray) -> None:
    found = decode(Encoded(files.read(key) or b""), expected.shape, expected.dtype)
    if digest(found) != digest(expected):
        raise IntegrityError(f"{files.root / key}: what was written does not read back as it was")


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=1).encode()

"""How an image enters a store: chunks first, each durable and read back, its completion record last."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock as Mutex
from typing import cast

import numpy as np

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.files.places import Place
from logitpipe.cache.files.steps import step
from logitpipe.cache.format import Schema, records, version1
from logitpipe.cache.format.chunks import image_chunks
from logitpipe.cache.format.codec import CRC32C, Encoded, checksum, committed_digest, decode, encode, is_intact
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.records import ArrayRecord, Record, digest
from logitpipe.cache.format.schema import VOID_LABEL, ArraySpec
from logitpipe.cache.reading.store import Store, open_store
from logitpipe.cache.writing.lock import BusyError
from logitpipe.cache.writing.site import Claim, Writable, open_site


class StoreWriter:
    """Commits images to the store at `path`, which comes into being with the first of them.

    Parameters
    ----------
    path : the store's folder, or its URL of s3://
    schema : what the store must be; an existing store that differs is refused
    overwrite : replace what store there is, but not before the first image is committed
    earlier : the same run in format version 1; a store that began so is gone on with, and `schema` is this then
    on_unlocked : called once, if it turns out that the drive cannot lock files, so that images have no sole writer

    Raises
    ------
    PipeError
        Something else lies at `path`, or a store that another run would have given, or one that is to be replaced
        while someone writes it.
    """

    def __init__(
        self,
        path: Place,
        schema: Schema,
        overwrite: bool = False,
        on_unlocked: Callable[[], None] = lambda: None,
        earlier: version1.Schema | None = None,
    ) -> None:
        self.path, self.schema, self.overwrite, self._earlier = path, schema, overwrite, earlier
        self.site = open_site(path)
        self.store: Store | None = None
        self._claim = frozenset[int]()
        self._lock: Claim | None = None
        self._opening = Mutex()
        self._on_unlocked: Callable[[], None] | None = on_unlocked
        # Refuse a wrong place now, before the network has computed an image for it. With `overwrite` the old store
        # stays until the first commit.
        self.site.prepare(overwrite)
        if not overwrite and self.site.occupied():
            self.store = self._existing()

    def completed(self) -> list[int]:
        """Return the indices of the images that need no work."""
        return self.store.completed() if self.store else []

    @contextmanager
    def claimed(self, images: Collection[int]) -> Iterator[None]:
        """Keep everyone else from writing `images` while the block runs; in a store yet to be made, once it is.

        What a crash left half-written of them is removed. An image that nobody has claimed is locked while it is
        committed.

        Raises
        ------
        PipeError
            Someone else is writing one of them, or the store cannot be written.
        """
        self._claim = frozenset(images)
        try:
            # All at once and before the network runs: of two commands for the same images one ends now, not after
            # hours.
            if self.store and images:
                self._lock = self._locked(images)
            yield
        finally:
            if self._lock:
                self._lock.release()
            self._claim, self._lock = frozenset(), None

    def commit(
        self,
        image: int,
        values: Mapping[str, np.ndarray],
        sources: Mapping[str, str],
        geometry: Geometry | None = None,
    ) -> None:
        """Add one image: all of it, or after any failure none of it, not even what was there of it before.

        Parameters
        ----------
        image : index in the schema's `images`
        values : each array's part, in the dtype that the schema says and of the image's own size; what has windows
            may come without that dimension where there is one
        sources : SHA-256 of the files that the image came from, kept in its record
        geometry : sizes and windows of the image; if None, it was squashed to the input's size in one window. A store
            of version 1 keeps the size of the mask alone

        Raises
        ------
        IntegrityError
            What was written did not read back as it was.
        """
        with self._owned(image) as store:
            step("image.begin", image)
            geometry = geometry or _squashed(store.schema, values)
            parts = _parts(store.schema, values, geometry)
            for name, spec in store.arrays.items():
                _require_fit(name, parts[name], spec, store.schema.extent(name, geometry))
            files = self.site.files
            files.remove(records.key(image))  # while its chunks are replaced, it must not count as there
            written = _write(files, image, parts, store)
            record = Record(image, self.schema.images[image], store.fingerprint, dict(sources), written)
            # Last of all: the record is what makes the image exist, and by now its chunks are durable and were read
            # back.
            files.publish(records.key(image), record.to_bytes())
            step("image.end", image)

    @contextmanager
    def _owned(self, image: int) -> Iterator[Store]:
        """Lock one image for this writer and yield the store, which is created if it is not there."""
        # One thread at a time: two that both found no store would each create one.
        with self._opening:
            if claimed := image in self._claim:
                self._lock = lock = self._lock or self._locked(self._claim)
            else:
                lock = self._locked([image])
            store = cast(Store, self.store)  # who has a lock has a store
        try:
            self._require_in_place(lock)
            yield store
            self._require_in_place(lock)
        finally:
            if not claimed:
                lock.release()

    def _locked(self, images: Collection[int]) -> Claim:
        """Lock images and open the store again, as another process may have replaced it before the lock."""
        lock = None
        if not self.store and (self.overwrite or not self.site.occupied()):
            lock = self.site.create(self.schema, images, self.overwrite)
        # `create` gives None when another process was first: then that store is used.
        lock = lock or self._locked_existing(images)
        if not lock.effective and self._on_unlocked:
            self._on_unlocked()
            self._on_unlocked = None
        try:
            self.store = self._existing()
            # Only after the lock: half-written files of these images then belong to a dead process.
            self.site.sweep(self.store, images, lock)
        except BaseException:
            lock.release()
            raise
        return lock

    def _locked_existing(self, images: Collection[int]) -> Claim:
        try:
            return self.site.claim(images)
        except BusyError as error:
            raise PipeError(
                f"{self.path}: {error.owner} is writing image {self.schema.images[error.image]!r}, "
                "which this command would write too",
                "wait-or-stop",
            ) from error

    def _require_in_place(self, lock: Claim) -> None:
        if not self.site.guarded(lock):
            raise PipeError(f"{self.path}: the store was moved or removed while it was written", "put-back")

    def _existing(self) -> Store:
        store = open_store(self.path)
        # The store began in version 1. It is compared with this run in version 1's terms, and finished in them.
        if self._earlier and isinstance(store.schema, version1.Schema):
            self.schema = self._earlier
        if differences := store.schema.differences(self.schema):
            raise PipeError(
                f"{self.path} holds the logits of another run: {'; '.join(differences)}", "other-out-or-overwrite"
            )
        return store


def _squashed(schema: Schema, values: Mapping[str, np.ndarray]) -> Geometry:
    """Return the geometry of an image of which only its arrays are known; the picture is of its mask's size."""
    labels, logits = values["labels"].shape, values["logits" if schema.kind == "pixel" else "mask_logits"].shape
    picture = labels if any(labels) else schema.input_size
    sizes = (picture, schema.input_size, logits[-2:], labels, values["preview"].shape[:2])
    return Geometry.squashed(*((height, width) for height, width in sizes))


def _parts(schema: Schema, values: Mapping[str, np.ndarray], geometry: Geometry) -> dict[str, np.ndarray]:
    """Return an image's part of each array of a store."""
    labels = values["labels"]
    if labels.dtype != np.uint8:  # the assignment below would convert, and change codes
        raise ValueError(f"labels: uint8 expected, {labels.dtype} given")
    if isinstance(schema, version1.Schema):
        # Version 1 has one label shape for all images; `label_size` tells what to cut.
        padded = np.full(schema.label_shape, VOID_LABEL, np.uint8)
        padded[: labels.shape[0], : labels.shape[1]] = labels
        return {**values, "labels": padded, "label_size": np.array(labels.shape, np.int32)}
    schema.require_fit(geometry)
    parts = dict(values)
    for name, spec in schema.arrays().items():
        if spec.windowed and parts[name].ndim == len(spec.image_shape) - 1:
            parts[name] = parts[name][None]
    return parts | geometry.to_arrays(schema.windows)


def _require_fit(array: str, values: np.ndarray, spec: ArraySpec, extent: tuple[int, ...]) -> None:
    if values.shape != extent or values.dtype != spec.dtype:
        raise ValueError(f"{array}: {spec.dtype} {extent} expected, {values.dtype} {values.shape} given")
    # Whoever reads refuses them, so none may get in, whichever way it comes.
    if values.dtype.kind == "f" and not _all_finite(values):
        raise ValueError(f"{array}: finite numbers expected, {(~np.isfinite(values)).sum()} are NaN or infinite")


FINITE_PIECE = 1 << 16
"""Values that are looked at together: 128 kB, which stay in a core's second cache."""

INFINITE = 0x7C00
"""The pattern of float16's infinity."""


def _all_finite(values: np.ndarray) -> bool:
    if values.dtype != np.float16:
        return bool(np.isfinite(values).all())
    # All bits of the exponent are set in NaN and infinities alone: no finite number is as large, its sign left out.
    # In pieces that stay in the cache; NumPy's own test takes almost six times as long.
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint16)
    pieces = (bits[start : start + FINITE_PIECE] for start in range(0, bits.size, FINITE_PIECE))
    return all((piece & np.uint16(0x7FFF)).max() < INFINITE for piece in pieces)


def _write(files: Writable, image: int, parts: Mapping[str, np.ndarray], store: Store) -> dict[str, ArrayRecord]:
    """Put an image's chunks, all durable and read back when this returns; return what its record says of them."""
    chunk_hash, written = store.schema.chunk_hash, dict[str, ArrayRecord]()
    sums: dict[str, tuple[int, str]] = {}  # size and checksum of what must lie under a key; the bytes may be many

    def encoded_chunks() -> Iterator[tuple[str, Sequence[bytes]]]:
        """Yield each chunk's key and bytes, and note its digests."""
        for name, spec in store.arrays.items():
            digests: dict[str, str] = {}
            for key, cut in image_chunks(image, (1, *parts[name].shape), spec.chunks, spec.separator):
                chunk = _whole_chunk(parts[name][cut], spec, store.schema)
                encoded = encode(chunk)
                if chunk_hash == CRC32C:  # who reads does not hold the values against their digest
                    _require_decoding(encoded, chunk, files, f"{name}/{key}")
                digests[key] = committed_digest(chunk, encoded, chunk_hash)
                sums[f"{name}/{key}"] = encoded.size, encoded.checksum
                yield f"{name}/{key}", encoded.pieces
            written[name] = ArrayRecord(digest(parts[name]) if chunk_hash == CRC32C else None, digests)

    # A generator: one encoded chunk is in memory at a time, and `written` and `sums` are full once it is drained.
    files.publish_all(encoded_chunks())
    for key, expected in sums.items():
        step("file.read-back", key)
        data = files.read(key) or b""
        if (len(data), checksum(data)) != expected or not is_intact(data):
            raise IntegrityError(LOST, files.root, file=key)
    return written


LOST = "what was written does not read back as it was"


def _whole_chunk(part: np.ndarray, spec: ArraySpec, schema: Schema) -> np.ndarray:
    """Pad a piece at the edge to a full chunk, as Zarr's regular grid wants it, in C order."""
    missing = [(0, full - size) for full, size in zip(spec.chunks[1:], part.shape, strict=True)]
    if not np.any(missing):
        return np.ascontiguousarray(part)
    # Version 1 pads with zeros, beyond the array's edge alone; in version 2 readers of Zarr see the padding.
    fill = 0 if isinstance(schema, version1.Schema) else float(spec.fill_value())
    return np.pad(part, missing, constant_values=np.array(fill).astype(part.dtype))


def _require_decoding(encoded: Encoded, chunk: np.ndarray, files: Writable, key: str) -> None:
    decoded = decode(encoded.to_bytes(), chunk.shape, chunk.dtype)
    if not np.array_equal(decoded.view(np.uint8), chunk.view(np.uint8)):  # as bytes: NaN equals nothing, -0 equals 0
        raise IntegrityError(LOST, files.root, file=key)

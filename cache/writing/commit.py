"""How an image enters a store: chunks first, each durable and read back, its completion record last."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock as Mutex
from typing import cast

import numpy as np

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.files.places import Place
from logitpipe.cache.files.steps import step
from logitpipe.cache.format import records
from logitpipe.cache.format.chunks import image_chunks
from logitpipe.cache.format.codec import Encoded, decode, encode
from logitpipe.cache.format.records import ArrayRecord, Record, digest
from logitpipe.cache.format.schema import VOID_LABEL, ArraySpec, Schema
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
    ) -> None:
        self.path, self.schema, self.overwrite = path, schema, overwrite
        self.site = open_site(path)
        self.store: Store | None = None
        self._claim = frozenset[int]()
        self._lock: Claim | None = None
        self._opening = Mutex()
        self._on_unlocked: Callable[[], None] | None = on_unlocked
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
            if self.store and images:
                self._lock = self._locked(images)
            yield
        finally:
            if self._lock:
                self._lock.release()
            self._claim, self._lock = frozenset(), None

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
        with self._owned(image) as store:
            step("image.begin", image)
            parts = self._with_padded_labels(values)
            for name, spec in store.arrays.items():
                _require_fit(name, parts[name], spec)
            self.site.files.remove(records.key(image))  # while its chunks are replaced, it must not count as there
            written = {
                name: _write(self.site.files, name, image, parts[name], spec) for name, spec in store.arrays.items()
            }
            record = Record(image, self.schema.images[image], store.fingerprint, dict(sources), written)
            self.site.files.publish(records.key(image), record.to_bytes())
            step("image.end", image)

    def _with_padded_labels(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        labels = values["labels"]
        if labels.dtype != np.uint8:  # the assignment below would convert, and change codes
            raise ValueError(f"labels: uint8 expected, {labels.dtype} given")
        padded = np.full(self.schema.label_shape, VOID_LABEL, np.uint8)
        padded[: labels.shape[0], : labels.shape[1]] = labels
        return {**values, "labels": padded, "label_size": np.array(labels.shape, np.int32)}

    @contextmanager
    def _owned(self, image: int) -> Iterator[Store]:
        """Give the store, made if need be, while this writer alone may write the image."""
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
        """Lock images and look at the store anew: until now, another process may have replaced it."""
        lock = None
        if not self.store and (self.overwrite or not self.site.occupied()):
            lock = self.site.create(self.schema, images, self.overwrite)
        lock = lock or self._locked_existing(images)
        if not lock.effective and self._on_unlocked:
            self._on_unlocked()
            self._on_unlocked = None
        try:
            self.store = self._existing()
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
        if differences := store.schema.differences(self.schema):
            raise PipeError(
                f"{self.path} holds the logits of another run: {'; '.join(differences)}", "other-out-or-overwrite"
            )
        return store


def _require_fit(array: str, values: np.ndarray, spec: ArraySpec) -> None:
    if values.shape != spec.image_shape or values.dtype != spec.dtype:
        raise ValueError(f"{array}: {spec.dtype} {spec.image_shape} expected, {values.dtype} {values.shape} given")
    # Whoever reads refuses them, so none may get in, whichever way it comes.
    if values.dtype.kind == "f" and not _all_finite(values):
        raise ValueError(f"{array}: finite numbers expected, {(~np.isfinite(values)).sum()} are NaN or infinite")


def _all_finite(values: np.ndarray) -> bool:
    if values.dtype != np.float16:
        return bool(np.isfinite(values).all())
    exponent = np.uint16(0x7C00)  # all of its bits set: NaN or infinite; NumPy's own test takes twice as long
    return bool(((values.view(np.uint16) & exponent) != exponent).all())


def _write(files: Writable, array: str, image: int, values: np.ndarray, spec: ArraySpec) -> ArrayRecord:
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


def _read_back(files: Writable, key: str, encoded: Encoded, chunk: np.ndarray) -> None:
    """Hold what lies on disk, and what that decodes to, against what was to be written."""
    step("file.read-back", key)
    decoded = decode(encoded, chunk.shape, chunk.dtype)
    same = np.array_equal(decoded.view(np.uint8), chunk.view(np.uint8))  # as bytes: NaN equals nothing, -0 equals 0
    if files.read(key) != encoded.data or not same:
        raise IntegrityError("what was written does not read back as it was", files.root, file=key)

"""A store opened for reading: every value that leaves it was checked against its completion record."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from math import prod
from pathlib import Path

import numpy as np

from logitpipe.cache.errors import IncompleteError, IntegrityError, PipeError
from logitpipe.cache.files.opening import open_files
from logitpipe.cache.files.places import Files, Place, is_url
from logitpipe.cache.format import Schema, parse, records, version1
from logitpipe.cache.format.chunks import CHUNKS, image_chunks
from logitpipe.cache.format.codec import decode_committed
from logitpipe.cache.format.documents import loads
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.format.records import FOLDER, Record
from logitpipe.cache.format.schema import ArraySpec

SIZES = ("geometry", "window_box")
"""The arrays of version 2 that say which part of the others an image fills."""

READ_AHEAD_BYTES = 256 << 20
"""Memory for the images that are read ahead from a server, where there are more of them than workers."""

MOST_READERS = 16
"""Images that are read from a server at the same time: what takes long there is waiting for answers."""

SMALL_IMAGE_BYTES = 1 << 20
"""An image below this is read by one thread alone.

Decompressing and hashing let other threads run, but what Python does around each chunk does not: an image of 1.3 kB
in five arrays took one thread 0.7 ms, and two threads 1.6 ms of the processor; from 1.3 MB on two were faster.
"""

KEPT_GEOMETRIES = 64
"""Most geometries in the cache; labels and logits of an image are read close together, and both need its sizes."""


class Store:
    """The images of one network over one data set, readable one at a time.

    Reading an image needs its completion record; each chunk must exist, carry the checksum that the record
    names and decode to the size that the schema says. Instances may be shared by threads.

    Parameters
    ----------
    files : where the bytes are
    schema : what they mean
    """

    def __init__(self, files: Files, schema: Schema) -> None:
        self.files, self.schema = files, schema
        self.fingerprint: str = schema.attributes()["fingerprint"]
        self.arrays: dict[str, ArraySpec] = schema.arrays()
        self._geometries: dict[int, tuple[dict[str, tuple[str, ...]], Geometry]] = {}

    @property
    def path(self) -> Place:
        """Where the store lies, for messages."""
        return self.files.root

    def through(self, files: Files) -> "Store":
        """Return this store, read through other files; nothing is read and nothing computed for it.

        A new `Store` would hash the names of all images anew, which one for each image cannot afford.
        """
        other = copy(self)
        # Sizes that this store keeps would never be asked of the other files.
        other.files, other._geometries = files, {}
        return other

    def completed(self) -> list[int]:
        """Return the indices of the committed images, in order."""
        listed, count = self.files.listed(FOLDER), len(self.schema.images)
        if listed is None:  # by a web server: there each record is asked for by its size
            listed = self.files.sizes([records.key(image) for image in range(count)]).keys()
        found = map(records.image_of, listed)
        return sorted(image for image in found if image is not None and image < count)

    def missing(self) -> list[int]:
        """Return the indices of the images without a completion record, in order."""
        count, completed = len(self.schema.images), self.completed()
        # Of a million images the difference takes a second, and mostly there is none.
        return [] if len(completed) == count else sorted(set(range(count)) - set(completed))

    def require_complete(self) -> None:
        """Raise an IncompleteError that names the first images without a completion record."""
        if missing := self.missing():
            names = ", ".join(self.schema.images[i] for i in missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise IncompleteError(
                f"{self.path}: {len(missing)} of {len(self.schema.images)} images are missing ({names})",
                "finish-or-allow",
            )

    def record(self, image: int) -> Record:
        """Return the completion record of an image.

        Raises
        ------
        IncompleteError
            The image was never committed.
        IntegrityError
            The record is damaged, or belongs to another image or store.
        """
        name = self.schema.images[image]
        with self._blamed(image):
            # Record before chunks: a commit removes the record first and publishes it last, so a record seen here
            # names chunks that were all durable.
            data = self.files.read(records.key(image))
            if data is None:
                raise IncompleteError(f"{self.path}: image {name!r}: not in the store", "finish")
            record = records.parse(data)
            # A valid record under another image's key (files that were swapped) must not give that image's values.
            if (record.image, record.name) != (image, name):
                raise IntegrityError(f"the completion record is that of {record.name!r}")
            if record.fingerprint != self.fingerprint:
                raise IntegrityError("the completion record belongs to another store")
            if any((array.sha256 is None) != (self.schema.VERSION > 1) for array in record.arrays.values()):
                raise IntegrityError("the completion record is damaged (it is one of another format version)")
        return record

    def image(self, image: int, record: Record | None = None) -> Geometry:
        """Return the sizes and windows of an image; a store of version 1 has one size, and one window, for all.

        Raises
        ------
        IncompleteError, IntegrityError
            As for `read`.
        """
        record = record or self.record(image)
        if isinstance(self.schema, version1.Schema):
            height, width = (int(n) for n in self._read("label_size", image, record, (2,)))
            most = self.schema.label_shape
            if not (0 < height <= most[0] and 0 < width <= most[1]):
                fault = f"a mask of {height}x{width} does not fit the store's {most[0]}x{most[1]}"
                raise self._damaged(image, fault, f"label_size/{CHUNKS}/{image}")
            logits, labels, preview = self.schema.logits_shape[1:], (height, width), self.schema.preview_shape[:2]
            # The pixel networks of that version gave a logit for each pixel of their input.
            size = logits if self.schema.kind == "pixel" else self.schema.input_size
            return Geometry(labels, size, size, logits, labels, preview, ((0, 0, *size),))
        # The kept sizes hold only while the record names the same chunks: an image that was replaced has other
        # ones.
        known = {name: tuple(record.arrays[name].chunks.values()) for name in SIZES if name in record.arrays}
        if (kept := self._geometries.get(image)) and kept[0] == known:
            return kept[1]
        arrays = [self._read(name, image, record, self.arrays[name].image_shape) for name in SIZES]
        try:
            geometry = Geometry.from_arrays(*arrays)
            # An honest digest is no honest size: the arrays bound what a caller will make room for.
            self.schema.require_fit(geometry)
        except ValueError as error:
            raise self._damaged(image, str(error), f"{SIZES[0]}/{CHUNKS}.{image}.0.0") from error
        # Emptied as a whole, as images are read in order: which one is dropped does not matter.
        if len(self._geometries) >= KEPT_GEOMETRIES:
            self._geometries.clear()
        self._geometries[image] = known, geometry
        return geometry

    def read(self, array: str, image: int, record: Record | None = None, window: int = 0) -> np.ndarray:
        """Read one image's part of an array, each chunk checked, without what pads it.

        Parameters
        ----------
        array : name of the array
        image : index of the image
        record : its completion record, where the caller has it already
        window : of an array that has windows, the one to read

        Returns
        -------
        ndarray of the array's shape without the dimensions of image and window, in the dtype on disk; in version 2
        of the image's own size. `labels` of version 1 are padded: `Store.labels` cuts them.

        Raises
        ------
        IncompleteError
            The image was never committed.
        IntegrityError
            A chunk is gone or is not the chunk that was committed; the message names image and file.
        """
        record = record or self.record(image)
        if isinstance(self.schema, version1.Schema):
            return self._read(array, image, record, self.arrays[array].image_shape)
        extent = self.schema.extent(array, self.image(image, record))
        if not self.arrays[array].windowed:
            return self._read(array, image, record, extent)
        if not 0 <= window < extent[0]:
            raise IndexError(f"image {image} has {extent[0]} windows")
        return self._read(array, image, record, extent, window)[0]

    def _read(
        self, array: str, image: int, record: Record, extent: tuple[int, ...], window: int | None = None
    ) -> np.ndarray:
        """Read the values of an extent, or of one window of it, from the chunks that hold them."""
        spec, committed = self.arrays[array], self._chunks_of(record, array)
        chunks = dict(image_chunks(image, (1, *extent), spec.chunks, spec.separator))
        if window is not None:
            # A window has chunks of its own, so the other windows' are not read at all.
            chunks = {key: (slice(0, 1), *cut[1:]) for key, cut in chunks.items() if cut[0].start == window}
            extent = (1, *extent[1:])
        # Not filled beforehand: each chunk of the extent must be there, so that every value is written below.
        out = np.empty(extent, spec.dtype)
        found = self.files.read_all([f"{array}/{key}" for key in chunks])
        with self._blamed(image):
            for (key, cut), data in zip(chunks.items(), found, strict=True):
                part = out[cut]  # an edge chunk reaches past the image
                with self._blamed(image, f"{array}/{key}"):
                    chunk = decode_committed(
                        data, committed.get(key), spec.chunks[1:], spec.dtype, self.schema.chunk_hash
                    )
                if chunk.shape == extent:  # all of it, as of most images
                    return chunk.astype(spec.dtype, copy=False)
                part[...] = chunk[tuple(map(slice, part.shape))]
        return out

    def labels(self, image: int, record: Record | None = None) -> np.ndarray:
        """Read the mask of an image at its own size: uint8 (height, width), raw codes; (0, 0) where there is none."""
        record = record or self.record(image)
        height, width = self.image(image, record).labels
        return self.read("labels", image, record)[:height, :width]

    def _chunks_of(self, record: Record, array: str) -> dict[str, str]:
        try:
            return dict(record.arrays[array].chunks)
        except KeyError:
            raise self._damaged(record.image, f"its record lacks the array {array!r}") from None

    def _damaged(self, image: int, fault: str, file: str | None = None) -> IntegrityError:
        return IntegrityError(fault, self.path, self.schema.images[image], file)

    @contextmanager
    def _blamed(self, image: int, file: str | None = None) -> Iterator[None]:
        """Add store, image and file to an IntegrityError."""
        try:
            yield
        except IntegrityError as error:
            raise error.at(self.path, self.schema.images[image], file) from error


def open_store(path: Place) -> Store:
    """Open a store for reading.

    Parameters
    ----------
    path : a folder, the zip file of a store, or the URL of either (s3, gs, http, https)

    Raises
    ------
    PipeError
        There is no logit store at `path`, or it is of a newer format.
    IntegrityError
        Its metadata is damaged.
    """
    files = open_files(path)
    data = files.read(METADATA)
    if data is None:
        found = f"there is no {METADATA}" if is_url(path) or Path(path).exists() else "there is nothing at this path"
        raise PipeError(f"{path}: expected a logit store, but {found}", "make-store")
    try:
        return Store(files, parse(loads(data), path, files.read))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"cannot be parsed ({error})", path, file=METADATA) from error


def stored_bytes(store: Store) -> int | None:
    """Return the bytes on disk of all committed chunks; None as for `array_bytes`."""
    images = store.completed()
    found = [array_bytes(store, name, images) for name in store.arrays]
    return None if None in found else sum(size or 0 for size in found)


def array_bytes(store: Store, array: str, images: Iterable[int]) -> int | None:
    """Return the bytes on disk of the chunks of some images in one array.

    None on a web server: it lists nothing, and each of what may be 100,000 chunks would be a question of its own.
    """
    if store.files.listed(FOLDER) is None:
        return None
    return sum(store.files.sizes(chunk_keys(array, store.arrays[array], images)).values())


def chunk_keys(array: str, spec: ArraySpec, images: Iterable[int]) -> list[str]:
    """Return the keys of the chunks of some images in one array."""
    return [
        f"{array}/{key}"
        for image in images
        for key, _ in image_chunks(image, spec.shape, spec.chunks, spec.separator)
    ]


def image_bytes(store: Store) -> int:
    """Return the decoded bytes of an image, of the largest where their sizes differ."""
    return sum(prod(spec.image_shape) * spec.dtype.itemsize for spec in store.arrays.values())


def raw_bytes(store: Store) -> int:
    """Return the decoded bytes of all committed images."""
    return image_bytes(store) * len(store.completed())


def readers(store: Store, workers: int) -> int:
    """Return how many images are best read at the same time.

    Parameters
    ----------
    store : the store
    workers : threads that the cores have room for; a server, which one waits for, is asked for more at once
    """
    size = image_bytes(store)
    if is_url(store.path):
        return max(workers, min(MOST_READERS, READ_AHEAD_BYTES // size))
    return workers if size >= SMALL_IMAGE_BYTES else 1

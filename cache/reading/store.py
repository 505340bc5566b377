"""A store opened for reading: every value that leaves it was checked against its completion record."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from logitpipe.cache.errors import IncompleteError, IntegrityError, PipeError
from logitpipe.cache.files.opening import open_files
from logitpipe.cache.files.places import Files, Place, is_url
from logitpipe.cache.format import records
from logitpipe.cache.format.chunks import image_chunks
from logitpipe.cache.format.codec import decode_committed
from logitpipe.cache.format.documents import loads
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.format.records import Record
from logitpipe.cache.format.schema import ArraySpec, Schema, parse


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

    @property
    def path(self) -> Place:
        """Where the store lies, for messages."""
        return self.files.root

    def completed(self) -> list[int]:
        """Return the indices of the committed images, in order."""
        images = {records.key(image): image for image in range(len(self.schema.images))}
        return sorted(images[key] for key in self.files.sizes(images.keys()))

    def missing(self) -> list[int]:
        """Return the indices of the images without a completion record, in order."""
        return sorted(set(range(len(self.schema.images))) - set(self.completed()))

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
            data = self.files.read(records.key(image))
            if data is None:
                raise IncompleteError(f"{self.path}: image {name!r}: not in the store", "finish")
            record = records.parse(data)
            if (record.image, record.name) != (image, name):
                raise IntegrityError(f"the completion record is that of {record.name!r}")
            if record.fingerprint != self.fingerprint:
                raise IntegrityError("the completion record belongs to another store")
        return record

    def read(self, array: str, image: int, record: Record | None = None) -> np.ndarray:
        """Read one image's part of an array, each chunk checked.

        Parameters
        ----------
        array : name of the array
        image : index of the image
        record : its completion record, where the caller has it already

        Returns
        -------
        ndarray of the array's shape without the image dimension, in the dtype on disk

        Raises
        ------
        IncompleteError
            The image was never committed.
        IntegrityError
            A chunk is gone or is not the chunk that was committed; the message names image and file.
        """
        spec = self.arrays[array]
        committed = self._chunks_of(record or self.record(image), array)
        out = np.empty(spec.image_shape, spec.dtype)
        chunks = dict(image_chunks(image, spec.shape, spec.chunks))
        found = self.files.read_all([f"{array}/{key}" for key in chunks])
        with self._blamed(image):
            for (key, extent), data in zip(chunks.items(), found, strict=True):
                part = out[extent]  # an edge chunk reaches past the image
                with self._blamed(image, f"{array}/{key}"):
                    chunk = decode_committed(data, committed.get(key), spec.chunks[1:], spec.dtype)
                part[...] = chunk[tuple(map(slice, part.shape))]
        return out

    def labels(self, image: int, record: Record | None = None) -> np.ndarray:
        """Read the mask of an image at its own size: uint8 (height, width), raw codes."""
        record = record or self.record(image)
        height, width = (int(n) for n in self.read("label_size", image, record))
        full = self.read("labels", image, record)
        if not (0 < height <= full.shape[0] and 0 < width <= full.shape[1]):
            fault = f"a mask of {height}x{width} does not fit {full.shape}"
            raise IntegrityError(fault, self.path, self.schema.images[image])
        return full[:height, :width]

    def _chunks_of(self, record: Record, array: str) -> dict[str, str]:
        try:
            return dict(record.arrays[array].chunks)
        except KeyError:
            fault = f"its record lacks the array {array!r}"
            raise IntegrityError(fault, self.path, self.schema.images[record.image]) from None

    @contextmanager
    def _blamed(self, image: int, file: str | None = None) -> Iterator[None]:
        """Say which image and file of which store a fault is in."""
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
        return Store(files, parse(loads(data), path))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"cannot be parsed ({error})", path, file=METADATA) from error


def stored_bytes(store: Store) -> int:
    """Return the bytes on disk of all committed chunks."""
    completed = store.completed()
    keys = [key for name, spec in store.arrays.items() for key in chunk_keys(name, spec, completed)]
    return sum(store.files.sizes(keys).values())


def chunk_keys(array: str, spec: ArraySpec, images: Iterable[int]) -> list[str]:
    """Return the keys of the chunks of some images in one array."""
    return [f"{array}/{key}" for image in images for key, _ in image_chunks(image, spec.shape, spec.chunks)]


def raw_bytes(store: Store) -> int:
    """Return the decoded bytes of all committed images."""
    per_image = sum(prod(spec.image_shape) * spec.dtype.itemsize for spec in store.arrays.values())
    return per_image * len(store.completed())

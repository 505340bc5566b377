"""A store opened for reading: every value that leaves it was checked against its completion record."""

from collections.abc import Iterable
from math import prod

import numpy as np

from logitpipe.cache.errors import IncompleteError, IntegrityError, PipeError
from logitpipe.cache.files.places import Files, Place, open_files
from logitpipe.cache.format import records
from logitpipe.cache.format.chunks import image_chunks
from logitpipe.cache.format.codec import Encoded, decode
from logitpipe.cache.format.documents import loads
from logitpipe.cache.format.records import Record
from logitpipe.cache.format.schema import ArraySpec, Schema, parse

METADATA = "zarr.json"


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
                f"{self.path}: {len(missing)} of {len(self.schema.images)} images are missing ({names}); "
                "run the same `pipe infer` again to finish it, or take what is there with --allow-incomplete"
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
        where = self._where(image)
        data = self.files.read(records.key(image))
        if data is None:
            raise IncompleteError(f"{where}: not in the store; run the same `pipe infer` again to add it")
        record = records.parse(data, where)
        if (record.image, record.name) != (image, self.schema.images[image]):
            raise IntegrityError(f"{where}: the completion record is that of {record.name!r}")
        if record.fingerprint != self.fingerprint:
            raise IntegrityError(f"{where}: the completion record belongs to another store")
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
        for (key, extent), data in zip(chunks.items(), found, strict=True):
            part = out[extent]  # an edge chunk reaches past the image
            chunk = self._chunk(image, f"{array}/{key}", data, committed.get(key), spec)
            part[...] = chunk[tuple(map(slice, part.shape))]
        return out

    def labels(self, image: int, record: Record | None = None) -> np.ndarray:
        """Read the mask of an image at its own size: uint8 (height, width), raw codes."""
        record = record or self.record(image)
        height, width = (int(n) for n in self.read("label_size", image, record))
        full = self.read("labels", image, record)
        if not (0 < height <= full.shape[0] and 0 < width <= full.shape[1]):
            raise IntegrityError(f"{self._where(image)}: a mask of {height}x{width} does not fit {full.shape}")
        return full[:height, :width]

    def _chunk(self, image: int, key: str, data: bytes | None, checksum: str | None, spec: ArraySpec) -> np.ndarray:
        """Return one chunk, decoded, without the image dimension."""
        where = f"{self._where(image)}: {key}"
        if data is None:
            raise IntegrityError(f"{where} is gone")
        encoded = Encoded(data)
        if encoded.checksum != checksum:
            raise IntegrityError(f"{where}: checksum {checksum} was committed, {encoded.checksum} was found")
        try:
            return decode(encoded, spec.chunks[1:], spec.dtype)
        except IntegrityError as error:
            raise IntegrityError(f"{where}: {error}") from error

    def _chunks_of(self, record: Record, array: str) -> dict[str, str]:
        try:
            return dict(record.arrays[array].chunks)
        except KeyError:
            raise IntegrityError(f"{self._where(record.image)}: its record lacks the array {array!r}") from None

    def _where(self, image: int) -> str:
        return f"{self.path}: image {self.schema.images[image]!r}"


def open_store(path: Place) -> Store:
    """Open a store for reading.

    Parameters
    ----------
    path : a folder, a zip file that `pipe pack` made, or the URL of either (s3, gs, http, https)

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
        raise PipeError(f"{path}: expected a logit store, but there is no {METADATA}; `pipe infer` makes one")
    try:
        return Store(files, parse(loads(data), str(path)))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: {METADATA} cannot be parsed ({error})") from error


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

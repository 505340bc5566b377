"""Format version 1: one size for all images of a store; it is read for ever, and a store that began so ends so."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, get_args

import numpy as np

from logitpipe.cache.format.chunks import rows_per_chunk
from logitpipe.cache.format.codec import CRC32C
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.schema import ArraySpec, Described, Kind, Precision, canonical

CHUNK_BYTES = 4 << 20
"""Decoded size that a chunk of logits should not exceed."""


@dataclass(frozen=True)
class Schema(Described):
    """Everything that determines the logits of a store; the group attributes are these fields.

    Parameters
    ----------
    kind : "pixel" (one logit per class and pixel) or "mask" (queries with a class distribution and a mask)
    network : registered name of the network
    facts : what is needed to rebuild the network, as JSON
    weights_sha256 : digest of the checkpoint file
    dataset : name of the data set
    classes : names of the K classes in channel order; for a pixel store all its channels
    void_class : index of the channel that stands for void, or None
    input_size : height and width that the network saw
    logits_shape : pixel: (C, H, W); mask: (Q, h, w) of the mask logits
    precision : dtype of the logits on disk
    preprocessing : how a picture becomes the network's input, in words
    images : image file names, in order, fixed when the store is created
    label_shape : largest height and largest width among the masks
    software : versions of what computed the logits; recorded, not part of the store's identity

    Raises
    ------
    ValueError
        No store can be like this.
    TypeError
        A value is of another type than this.
    """

    VERSION: ClassVar[int] = 1
    # What version 2 declares of a data set, this one says nothing of.
    label_codes: ClassVar[str | None] = None
    selection: ClassVar[str | None] = None
    limit: ClassVar[int | None] = None
    chunk_hash: ClassVar[str] = CRC32C
    """A record knows a chunk by the checksum in it, and the values by one SHA-256 for each array."""

    kind: Kind
    network: str
    facts: Mapping[str, Any]
    weights_sha256: str
    dataset: str
    classes: tuple[str, ...]
    void_class: int | None
    input_size: tuple[int, int]
    logits_shape: tuple[int, int, int]
    precision: Precision
    preprocessing: Mapping[str, Any]
    images: tuple[str, ...]
    label_shape: tuple[int, int]
    software: Mapping[str, str]

    def __post_init__(self) -> None:
        _check_types(self)
        _check_values(self)
        self.require_room()

    @property
    def unknown_class(self) -> int | None:
        """Index of the channel that is none of the K classes."""
        return self.void_class

    @property
    def preview_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a preview: half the input size."""
        return (self.input_size[0] + 1) // 2, (self.input_size[1] + 1) // 2, 3

    def arrays(self) -> dict[str, ArraySpec]:
        """The arrays of the store by name; along `image` every chunk holds exactly one image."""
        logits, common = np.dtype(self.precision), _common_arrays(self)
        if self.kind == "pixel":
            return {"logits": _logits_spec(self, ("image", "class", "y", "x"), logits)} | common
        queries, width = self.logits_shape[0], len(self.classes) + 1
        class_dims = ("image", "query", "class_or_none")
        return {
            "mask_logits": _logits_spec(self, ("image", "query", "y", "x"), logits),
            "class_logits": _whole_image(self, class_dims, (queries, width), np.dtype(np.float32)),
        } | common

    def plain(self) -> dict[str, Any]:
        """See `Described`."""
        return asdict(self)

    def extent(self, array: str, _geometry: Geometry) -> tuple[int, ...]:
        """See `Described`: every image fills its part of each array."""
        return self.arrays()[array].image_shape


def _common_arrays(schema: Schema) -> dict[str, ArraySpec]:
    byte = np.dtype(np.uint8)
    preview_dims = ("image", "preview_y", "preview_x", "rgb")
    return {
        "labels": _whole_image(schema, ("image", "label_y", "label_x"), schema.label_shape, byte),
        "label_size": _whole_image(schema, ("image", "height_width"), (2,), np.dtype(np.int32)),
        "preview": _whole_image(schema, preview_dims, schema.preview_shape, byte),
    }


def _logits_spec(schema: Schema, dims: tuple[str, ...], dtype: np.dtype) -> ArraySpec:
    channels, height, width = schema.logits_shape
    rows = rows_per_chunk(height, channels * width * dtype.itemsize, CHUNK_BYTES)
    return ArraySpec(dims, (len(schema.images), channels, height, width), (1, channels, rows, width), dtype)


def _whole_image(schema: Schema, dims: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype) -> ArraySpec:
    return ArraySpec(dims, (len(schema.images), *shape), (1, *shape), dtype)


def _check_types(schema: Schema) -> None:
    """Refuse what JSON may hold and a dataclass does not check."""
    names, sizes = (schema.images, schema.classes), (schema.input_size, schema.logits_shape, schema.label_shape)
    if not all(isinstance(sequence, tuple) for sequence in (*names, *sizes)):
        raise TypeError("images, classes and sizes must be sequences")
    if [len(size) for size in sizes] != [2, 3, 2] or not all(type(n) is int for size in sizes for n in size):
        raise TypeError("sizes must be two, three and two integers")
    if not all(isinstance(facts, Mapping) for facts in (schema.facts, schema.preprocessing, schema.software)):
        raise TypeError("facts, preprocessing and software must be objects")
    names_and_digests = (schema.network, schema.weights_sha256, schema.dataset, *schema.images, *schema.classes)
    if not all(isinstance(text, str) for text in (*names_and_digests, *schema.software.values())):
        raise TypeError("names, digests and versions must be text")
    if not (schema.void_class is None or type(schema.void_class) is int):
        raise TypeError(f"void class {schema.void_class!r}")


def _check_values(schema: Schema) -> None:
    if schema.kind not in get_args(Kind) or schema.precision not in get_args(Precision):
        raise ValueError(f"kind {schema.kind!r}, precision {schema.precision!r}")
    if min(*schema.input_size, *schema.logits_shape, *schema.label_shape) < 1:
        raise ValueError("sizes must be positive")
    if not schema.classes or not schema.images or len(set(schema.images)) != len(schema.images):
        raise ValueError("classes and images must be named, each image once")
    if schema.kind == "pixel" and len(schema.classes) != schema.logits_shape[0]:
        raise ValueError(f"{len(schema.classes)} classes for {schema.logits_shape[0]} channels")
    if schema.void_class is not None and not 0 <= schema.void_class < len(schema.classes):
        raise ValueError(f"void class {schema.void_class}")
    canonical({"facts": schema.facts, "preprocessing": schema.preprocessing})  # refuses NaN, which JSON does not have

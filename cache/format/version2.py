"""Format version 2: sizes and windows of each image for itself, names in a file, chunks known by a fast hash.

`docs/format-2.md` describes it for readers in other languages.
"""

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from logitpipe.cache.format.chunks import rows_per_chunk
from logitpipe.cache.format.codec import XXH3
from logitpipe.cache.format.documents import names_bytes
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.keys import IMAGES
from logitpipe.cache.format.schema import ArraySpec, Described, Kind, Precision, canonical

CHUNK_BYTES = 32 << 20
"""Decoded size that a chunk of logits should not exceed.

What most networks give for a picture is then one chunk: written as it lies in memory, and read without a copy.
"""

SigmoidAt = Literal["masks", "window", "picture"] | tuple[int, int]
"""Where the sigmoid of mask logits is taken: at their own size; at that of a window; at the picture's; at (h, w)."""


def chunk_rows(logits_shape: tuple[int, int, int], precision: Precision) -> int:
    """Return the rows of one chunk that a new store takes."""
    channels, height, width = logits_shape
    return rows_per_chunk(height, channels * width * np.dtype(precision).itemsize, CHUNK_BYTES)


@dataclass(frozen=True)
class Schema(Described):
    """Everything that determines the logits of a store, and what scoring must know of its data set.

    Parameters
    ----------
    kind : "pixel" (one logit per class and pixel) or "mask" (queries with a class distribution and a mask)
    network : name of the network
    facts : what is needed to rebuild the network, as JSON
    weights_sha256 : digest of the checkpoint file; None where the logits were not made by `pipe infer`
    dataset : name of the data set
    layout : name of the layout that it was read by
    label_codes : what the codes of its masks mean, as `normal=0,anomaly=1-2,void=255`; None where undeclared
    closed_set_codes : code by name of a known class, None where the masks name no classes
    selection, limit : which of its pictures were taken: a pattern, the most of them; None is all
    classes : names of the channels in order; of a mask network, of its K classes
    void_class, outlier_class : indices of the channels for void and for outliers, which are none of the K; or None
    sigmoid_at : where a mask network takes the sigmoid: "masks", at the mask logits' own size; (h, w), resampled to
        it first; "window", at the size of a window; "picture"; None for a pixel network
    preprocessing : how a picture becomes the network's input, as fields that suffice to do it again
    precision : dtype of the logits on disk
    windows : most windows that an image has
    input_size, logits_shape, label_shape, preview_size : the largest of all images: (H, W) of the network's input, or
        of one window of it; (C, h, w) of the logits, (Q, h, w) of one window's mask logits; (height, width) of the
        masks, (1, 1) where there are none; (height, width) of the previews
    chunk_hash : name of the hash by which a record knows the values of a chunk
    chunk_rows : rows of one chunk of `logits` or `mask_logits`
    images : image names, in order, fixed when the store is created
    software : versions of what computed the logits; recorded, not part of the store's identity

    Raises
    ------
    ValueError
        No store can be like this.
    TypeError
        A value is of another type than this.
    """

    VERSION: ClassVar[int] = 2

    kind: Kind
    network: str
    facts: Mapping[str, Any]
    weights_sha256: str | None
    dataset: str
    layout: str
    label_codes: str | None
    closed_set_codes: Mapping[str, Any] | None
    selection: str | None
    limit: int | None
    classes: tuple[str, ...]
    void_class: int | None
    outlier_class: int | None
    sigmoid_at: SigmoidAt | None
    preprocessing: Mapping[str, Any]
    precision: Precision
    windows: int
    input_size: tuple[int, int]
    logits_shape: tuple[int, int, int]
    label_shape: tuple[int, int]
    preview_size: tuple[int, int]
    chunk_rows: int
    images: tuple[str, ...]
    software: Mapping[str, str]
    chunk_hash: str = XXH3

    def __post_init__(self) -> None:
        _check_types(self)
        _check_values(self)
        self.require_room()

    @property
    def unknown_class(self) -> int | None:
        """Index of the channel that is none of the K classes: void, or else outlier."""
        return self.outlier_class if self.void_class is None else self.void_class

    @property
    def preview_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the largest preview."""
        return *self.preview_size, 3

    def plain(self) -> dict[str, Any]:
        """See `Described`: of the names, which may be a million, only the number and the digest are attributes."""
        # Not `asdict`, which copies the names one by one.
        facts = {each.name: deepcopy(getattr(self, each.name)) for each in fields(self) if each.name != "images"}
        return facts | {"image_count": len(self.images), "images_sha256": self._names_sha256}

    def documents(self) -> dict[str, bytes]:
        """See `Described`: the names of the images."""
        return {IMAGES: self._names}

    @property
    def _names(self) -> bytes:
        return names_bytes(self.images)

    @cached_property
    def _names_sha256(self) -> str:
        """Digest that ties the file of names to the attributes, and so to the fingerprint of every record."""
        return hashlib.sha256(self._names).hexdigest()

    def arrays(self) -> dict[str, ArraySpec]:
        """See `Described`; a chunk holds one image, and where there are windows one window."""
        byte, number, logits = np.dtype(np.uint8), np.dtype(np.int32), np.dtype(self.precision)
        channels, _, width = self.logits_shape
        if self.kind == "pixel":
            # All classes of a pixel in one chunk: each of its scores needs all of them.
            rows = (1, channels, self.chunk_rows, width)
            first = {"logits": self._spec(("class", "y", "x"), self.logits_shape, logits, rows)}
        else:
            # A window has chunks of its own: a picture may have many, and they are read one at a time.
            window_rows, whole = (1, 1, channels, self.chunk_rows, width), (self.windows, *self.logits_shape)
            columns, classes = len(self.classes) + 1, np.dtype(np.float32)
            of_classes = (self.windows, channels, columns)
            first = {
                "mask_logits": self._spec(("window", "query", "y", "x"), whole, logits, window_rows),
                "class_logits": self._spec(
                    ("window", "query", "class_or_none"), of_classes, classes, (1, 1, channels, columns)
                ),
            }
        return first | {
            "labels": self._spec(("label_y", "label_x"), self.label_shape, byte),
            "preview": self._spec(("preview_y", "preview_x", "rgb"), self.preview_shape, byte),
            "geometry": self._spec(("size", "height_width"), (len(Geometry.SIZES), 2), number),
            "window_box": self._spec(("window", "edge"), (self.windows, 4), number),
        }

    def extent(self, array: str, geometry: Geometry) -> tuple[int, ...]:
        """See `Described`."""
        channels, windows = self.logits_shape[0], len(geometry.windows)
        extents: dict[str, tuple[int, ...]] = {
            "logits": (channels, *geometry.logits),
            "mask_logits": (windows, channels, *geometry.logits),
            "class_logits": (windows, channels, len(self.classes) + 1),
            "labels": geometry.labels,
            "preview": (*geometry.preview, 3),
            "geometry": (len(Geometry.SIZES), 2),
            "window_box": (self.windows, 4),
        }
        return extents[array]

    def require_fit(self, geometry: Geometry) -> None:
        """Refuse an image that is larger than the largest, by a ValueError."""
        most = {"padded": self.input_size, "logits": self.logits_shape[1:], "labels": self.label_shape}
        for name, size in (most | {"preview": self.preview_size}).items():
            found = getattr(geometry, name)
            if found[0] > size[0] or found[1] > size[1]:
                raise ValueError(f"{name} of {found[0]}x{found[1]} do not fit the store's {size[0]}x{size[1]}")
        if len(geometry.windows) > self.windows:
            raise ValueError(f"{len(geometry.windows)} windows do not fit the store's {self.windows}")

    def _spec(
        self, dims: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype, cut: tuple[int, ...] | None = None
    ) -> ArraySpec:
        # Chunks of all images in one folder: one of each image's own would have to be made and synced for it.
        return ArraySpec(("image", *dims), (len(self.images), *shape), cut or (1, *shape), dtype, separator=".")


def _check_types(schema: Schema) -> None:
    """Refuse what JSON may hold and a dataclass does not check."""
    sizes = {"input_size": 2, "logits_shape": 3, "label_shape": 2, "preview_size": 2}
    for name, count in sizes.items():
        if not _is_size(getattr(schema, name), count):
            raise TypeError(f"{name} must be {count} integers")
    if not isinstance(schema.images, tuple) or not isinstance(schema.classes, tuple):
        raise TypeError("images and classes must be sequences")
    if not all(isinstance(facts, Mapping) for facts in (schema.facts, schema.preprocessing, schema.software)):
        raise TypeError("facts, preprocessing and software must be objects")
    if not (schema.closed_set_codes is None or isinstance(schema.closed_set_codes, Mapping)):
        raise TypeError("closed-set codes must be an object")
    texts = (schema.kind, schema.precision, schema.network, schema.dataset, schema.layout)
    if not all(
        isinstance(text, str) for text in (*texts, *schema.images, *schema.classes, *schema.software.values())
    ):
        raise TypeError("names, digests and versions must be text")
    optional = (schema.weights_sha256, schema.selection, schema.label_codes)
    if not all(text is None or isinstance(text, str) for text in optional):
        raise TypeError(f"weights, selection and label codes {optional!r}")
    if not all(n is None or type(n) is int for n in (schema.void_class, schema.outlier_class, schema.limit)):
        raise TypeError("void class, outlier class and limit must be integers")
    if type(schema.windows) is not int or type(schema.chunk_rows) is not int:
        raise TypeError("windows and rows of a chunk must be integers")


def _check_values(schema: Schema) -> None:
    if schema.kind not in get_args(Kind) or schema.precision not in get_args(Precision):
        raise ValueError(f"kind {schema.kind!r}, precision {schema.precision!r}")
    sizes = (*schema.input_size, *schema.logits_shape, *schema.label_shape, *schema.preview_size)
    if min(*sizes, schema.windows, schema.chunk_rows) < 1:
        raise ValueError("sizes must be positive")
    # Version 2 stores the rows of a chunk as an attribute; a larger value would pad every chunk for nothing.
    if schema.chunk_rows > schema.logits_shape[1]:
        raise ValueError(f"chunks of {schema.chunk_rows} rows for {schema.logits_shape[1]}")
    if not schema.classes or not schema.images or len(set(schema.images)) != len(schema.images):
        raise ValueError("classes and images must be named, each image once")
    if schema.kind == "pixel" and (len(schema.classes) != schema.logits_shape[0] or schema.windows != 1):
        raise ValueError(
            f"{len(schema.classes)} classes, {schema.windows} windows: {schema.logits_shape[0]} channels"
        )
    beside = [index for index in (schema.void_class, schema.outlier_class) if index is not None]
    if len(set(beside)) < len(beside) or not all(0 <= index < len(schema.classes) for index in beside):
        raise ValueError(f"void class {schema.void_class}, outlier class {schema.outlier_class}")
    if schema.limit is not None and schema.limit < 1:
        raise ValueError(f"limit {schema.limit}")
    if (schema.sigmoid_at is None) != (schema.kind == "pixel") or not (
        schema.sigmoid_at in (None, "masks", "window", "picture") or _is_size(schema.sigmoid_at, 2)
    ):
        raise ValueError(f"sigmoid at {schema.sigmoid_at!r} for a {schema.kind} network")
    if schema.chunk_hash != XXH3:
        raise ValueError(f"chunk hash {schema.chunk_hash!r}")
    canonical({name: getattr(schema, name) for name in ("facts", "preprocessing", "closed_set_codes")})  # refuses NaN


def _is_size(value: object, count: int) -> bool:
    return isinstance(value, tuple) and len(value) == count and all(type(n) is int and n > 0 for n in value)

"""What a store is: the facts that determine its logits, and the arrays that follow from them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, Literal, get_args

import numpy as np

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.format.chunks import rows_per_chunk
from logitpipe.cache.format.codec import COMPRESSOR, LEVEL, MAX_CHUNK_BYTES
from logitpipe.cache.format.keys import METADATA

FORMAT = "logit-store"
FORMAT_VERSION = 1
VOID_LABEL = 255
"""The code that pads `labels` beyond each mask's own size."""

AMP_CHANGE = "amp_change"
"""In a store's `software`: how far mixed precision moved its logits, in words. It is measured, so no identity."""

MAX_IMAGE_BYTES = 8 << 30
"""Decoded size that an image may have: a dozen times that of 20 classes at 2048x4096 in float32."""

Kind = Literal["pixel", "mask"]
Precision = Literal["float16", "float32"]


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store: its Zarr v3 metadata follows from these five facts."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image's part."""
        return self.shape[1:]

    def fill_value(self) -> float | int | str:
        """NaN for logits, void for labels: a chunk that is missing can never pass for a result."""
        return "NaN" if self.dtype.kind == "f" else VOID_LABEL if self.dtype == np.uint8 else 0

    def metadata(self) -> dict[str, Any]:
        """The array's `zarr.json`, as the Zarr v3 core specification has it."""
        blosc = {"typesize": self.dtype.itemsize, "cname": COMPRESSOR, "clevel": LEVEL, "shuffle": "bitshuffle"}
        little = {"endian": "little"} if self.dtype.itemsize > 1 else {}
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self.fill_value(),
            "codecs": [
                {"name": "bytes", "configuration": little} if little else {"name": "bytes"},
                {"name": "blosc", "configuration": blosc | {"blocksize": 0}},
                {"name": "crc32c"},
            ],
            "attributes": {},
            "dimension_names": list(self.dims),
        }


@dataclass(frozen=True)
class Schema:
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
        _check_bytes(self)

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

    def image_bytes(self) -> int:
        """Decoded bytes of one image over all arrays."""
        return sum(prod(spec.image_shape) * spec.dtype.itemsize for spec in self.arrays().values())

    def attributes(self) -> dict[str, Any]:
        """The group attributes, fingerprint included."""
        plain = json.loads(json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION} | asdict(self)))
        return plain | {"fingerprint": fingerprint(plain)}

    def metadata(self) -> dict[str, Any]:
        """The group's `zarr.json`; it carries the arrays' too, so that a store opens with one read."""
        arrays = {name: spec.metadata() for name, spec in self.arrays().items()}
        consolidated = {"kind": "inline", "must_understand": False, "metadata": arrays}
        return {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": self.attributes(),
            "consolidated_metadata": consolidated,
        }

    def differences(self, other: "Schema") -> list[str]:
        """Lines that name each field in which another run would give other logits; software is not compared."""
        mine, theirs = self.attributes(), other.attributes()
        names = [f.name for f in fields(self) if f.name != "software" and mine[f.name] != theirs[f.name]]
        pairs = [(name, json.dumps(mine[name]), json.dumps(theirs[name])) for name in names]
        return [f"{name}: {_brief(a, b)} in the store, {_brief(b, a)} asked for" for name, a, b in pairs]


def parse(metadata: Any, store: object) -> Schema:  # noqa: ANN401 - JSON is of any type
    """Read a group's `zarr.json` back into a schema, believing nothing.

    Parameters
    ----------
    metadata : as it was parsed from JSON
    store : path or URL of the store, for errors

    Raises
    ------
    PipeError
        Not a logit store, or one of a newer format version.
    IntegrityError
        The attributes or the arrays' metadata are not what was written.
    """
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise PipeError(f"{store}: expected a logit store, but the attribute `format` is not {FORMAT!r}")
    _check_version(attributes.get("format_version"), store)
    rest = {name: value for name, value in attributes.items() if name != "fingerprint"}
    if fingerprint(rest) != attributes.get("fingerprint"):
        raise IntegrityError("the attributes do not match their fingerprint", store, file=METADATA)
    schema = _from_attributes(attributes, store)
    if canonical(metadata) != canonical(schema.metadata()):  # as text, since 1 == 1.0 == True
        raise IntegrityError("describes other arrays than its attributes imply", store, file=METADATA)
    return schema


def _check_version(version: object, store: object) -> None:
    if type(version) is int and version > FORMAT_VERSION:
        raise PipeError(
            f"{store}: written by a newer version of logitpipe, in format version {version}, and this one reads "
            f"version {FORMAT_VERSION}",
            "upgrade",
        )
    if type(version) is not int or version < FORMAT_VERSION:
        raise PipeError(f"{store}: format version {FORMAT_VERSION} was expected, and {version!r} was found")


def fingerprint(attributes: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of the attributes."""
    return hashlib.sha256(canonical(attributes)).hexdigest()


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no spaces: equal documents give equal bytes; a ValueError for NaN and infinity."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def metadata_bytes(metadata: Mapping[str, Any]) -> bytes:
    """Return the bytes of a `zarr.json`: always the same for the same metadata, so that one can be written anew."""
    return json.dumps(metadata, indent=1).encode()


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
    rows = rows_per_chunk(height, channels * width * dtype.itemsize)
    return ArraySpec(dims, (len(schema.images), channels, height, width), (1, channels, rows, width), dtype)


def _whole_image(schema: Schema, dims: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype) -> ArraySpec:
    return ArraySpec(dims, (len(schema.images), *shape), (1, *shape), dtype)


def _from_attributes(attributes: Mapping[str, Any], store: object) -> Schema:
    try:
        values = {f.name: _tupled(attributes[f.name]) for f in fields(Schema)}
        return Schema(**values)
    except (KeyError, TypeError, ValueError) as error:
        fault = f"the attributes do not describe a store ({error!r})"
        raise IntegrityError(fault, store, file=METADATA) from error


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


def _check_bytes(schema: Schema) -> None:
    """Refuse sizes that no machine could hold, before anyone makes room for them."""
    for name, spec in schema.arrays().items():
        if (chunk := prod(spec.chunks) * spec.dtype.itemsize) > MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk of {name!r} would have {chunk} bytes, more than {MAX_CHUNK_BYTES}")
    if (image := schema.image_bytes()) > MAX_IMAGE_BYTES:
        raise ValueError(f"an image would have {image} bytes, more than {MAX_IMAGE_BYTES}")


def _tupled(value: Any) -> Any:  # noqa: ANN401 - JSON is of any type
    return tuple(value) if isinstance(value, list) else value


def _brief(text: str, other: str, limit: int = 60) -> str:
    """Cut a long text around the first place where it differs from another."""
    if len(text) <= limit:
        return text
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
    start = max(0, same - limit // 2)
    end = start + limit
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"

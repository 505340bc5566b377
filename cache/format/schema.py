"""What the schemas of all format versions have in common: arrays of Zarr, digests of JSON, limits."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np

from logitpipe.cache.format.codec import COMPRESSOR, LEVEL, MAX_CHUNK_BYTES
from logitpipe.cache.format.geometry import Geometry

FORMAT = "logit-store"
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
    """One array of a store: its Zarr v3 metadata follows from these facts.

    Parameters
    ----------
    dims, shape, chunks : of the whole array; along the first dimension, `image`, a chunk holds exactly one
    dtype : of its values
    separator : between the parts of a chunk's key: `/` gives folders, `.` gives files of one folder
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    separator: Literal["/", "."] = "/"

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image's part."""
        return self.shape[1:]

    @property
    def windowed(self) -> bool:
        """Whether each window of an image has chunks of its own."""
        return self.dims[1:3] == ("window", "query")

    @property
    def read_shape(self) -> tuple[int, ...]:
        """The largest shape that reading one image, or one of its windows, gives."""
        return self.shape[2:] if self.windowed else self.image_shape

    def fill_value(self) -> float | int | str:
        """NaN for logits, void for labels: a chunk that is missing can never pass for a result."""
        return "NaN" if self.dtype.kind == "f" else VOID_LABEL if self.dtype == np.uint8 else 0

    def metadata(self) -> dict[str, Any]:
        """The array's `zarr.json`, as the Zarr v3 core specification has it."""
        blosc = {"typesize": self.dtype.itemsize, "cname": COMPRESSOR, "clevel": LEVEL, "shuffle": "bitshuffle"}
        # One byte has no order; zarr-python leaves the field out for such arrays, and the metadata must equal its
        # own.
        little = {"endian": "little"} if self.dtype.itemsize > 1 else {}
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": self.separator}},
            "fill_value": self.fill_value(),
            # Spelt out as zarr-python writes them: it, tensorstore and zarrs open the arrays without us.
            "codecs": [
                {"name": "bytes", "configuration": little} if little else {"name": "bytes"},
                {"name": "blosc", "configuration": blosc | {"blocksize": 0}},
                {"name": "crc32c"},
            ],
            "attributes": {},
            "dimension_names": list(self.dims),
        }


class Described:
    """What follows from a schema, of whichever format version: each of them is a dataclass of facts."""

    VERSION: ClassVar[int]
    images: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """The facts by name."""
        raise NotImplementedError

    def arrays(self) -> dict[str, ArraySpec]:
        """The arrays of the store by name."""
        raise NotImplementedError

    def extent(self, array: str, geometry: Geometry) -> tuple[int, ...]:
        """Sizes of an image's values in an array, without the image dimension; beyond them lies padding."""
        raise NotImplementedError

    def documents(self) -> dict[str, bytes]:
        """The files that describe the store beside its metadata, by key."""
        return {}

    def image_bytes(self) -> int:
        """Decoded bytes of one image over all arrays, padding included."""
        return sum(prod(spec.image_shape) * spec.dtype.itemsize for spec in self.arrays().values())

    def attributes(self) -> dict[str, Any]:
        """The group attributes, fingerprint included."""
        # Through JSON and back: tuples become lists, so a schema that was just made equals one that was read.
        plain = json.loads(json.dumps({"format": FORMAT, "format_version": self.VERSION} | self.plain()))
        return plain | {"fingerprint": fingerprint(plain)}

    def metadata(self) -> dict[str, Any]:
        """The group's `zarr.json`; it carries the arrays' too, so that a store opens with one read."""
        arrays = {name: spec.metadata() for name, spec in self.arrays().items()}
        # Not to be understood of necessity: a reader of Zarr that does not know it opens the arrays one by one.
        consolidated = {"kind": "inline", "must_understand": False, "metadata": arrays}
        return {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": self.attributes(),
            "consolidated_metadata": consolidated,
        }

    def differences(self, other: "Described") -> list[str]:
        """Lines that name each field in which another run would give other logits; software is not compared."""
        mine, theirs = ({**each.attributes(), "images": list(each.images)} for each in (self, other))
        # The names say better what images there are; how a store is cut into chunks is its own business.
        ignored = {"format", "software", "fingerprint", "image_count", "images_sha256", "chunk_rows"}
        # Fields of either: a later release may know one more.
        names = [name for name in mine | theirs if name not in ignored and mine.get(name) != theirs.get(name)]
        pairs = [(name, json.dumps(mine.get(name)), json.dumps(theirs.get(name))) for name in names]
        return [f"{name}: {_brief(a, b)} in the store, {_brief(b, a)} asked for" for name, a, b in pairs]

    def require_room(self) -> None:
        """Refuse sizes that no machine could hold, before anyone makes room for them, by a ValueError."""
        for name, spec in self.arrays().items():
            if (chunk := prod(spec.chunks) * spec.dtype.itemsize) > MAX_CHUNK_BYTES:
                raise ValueError(f"a chunk of {name!r} would have {chunk} bytes, more than {MAX_CHUNK_BYTES}")
        if (image := self.image_bytes()) > MAX_IMAGE_BYTES:
            raise ValueError(f"an image would have {image} bytes, more than {MAX_IMAGE_BYTES}")


def fingerprint(attributes: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of the attributes."""
    return hashlib.sha256(canonical(attributes)).hexdigest()


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no spaces: equal documents give equal bytes; a ValueError for NaN and infinity."""
    # ASCII alone: a reader in another language need not agree with this one on which letters are escaped.
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def metadata_bytes(metadata: Mapping[str, Any]) -> bytes:
    """Return the bytes of a `zarr.json`: always the same for the same metadata, so that one can be written anew."""
    return json.dumps(metadata, indent=1).encode()


def _brief(text: str, other: str, limit: int = 60) -> str:
    """Cut a long text around the first place where it differs from another."""
    if len(text) <= limit:
        return text
    # Two long texts mostly share their beginning, so a cut from the left would show the same words twice.
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
    start = max(0, same - limit // 2)
    end = start + limit
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"

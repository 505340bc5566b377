"""Ground truth: the raw codes of a mask file. What a code means is a protocol, chosen when scoring."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.imagefile import decode, naming, read_bytes, read_header

INDEXED_MODES = ("L", "P", "1")
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
COLOUR_MODES = ("RGB", "RGBA", "LA")
"""Modes with the code in every channel: lossless WebP, for one, knows no grey images. Alpha says nothing."""


class NoCodesError(PipeError):
    """An image that decodes and is no mask: a coloured picture, or one of more than 8 bits."""


@dataclass(frozen=True)
class MaskRules:
    """How mask files become codes.

    Parameters
    ----------
    label_codes : the codes that masks may hold, in the form of --label-codes; only files with loss are held to it
    palette : code of each colour, where masks are coloured
    resize : bring masks whose size differs by a whole factor to their picture's size, by nearest neighbour
    """

    label_codes: str | None = None
    palette: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    resize: bool = False


AS_THEY_LIE = MaskRules()
"""Codes as the file has them, of any meaning, at the mask's own size."""


def read_codes(path: Path, rules: MaskRules = AS_THEY_LIE) -> np.ndarray:
    """Read the raw codes of a mask file: uint8 (height, width).

    Raises
    ------
    PipeError
        The file cannot be read or decoded, or does not hold one 8-bit code per pixel.
    """
    read_header(path)  # by the header alone, before anything is decoded
    return codes(read_bytes(path), path, rules)


def codes(data: bytes, path: Path, rules: MaskRules = AS_THEY_LIE) -> np.ndarray:
    """Return the raw codes of a mask: uint8 (height, width); palette indices where the file has a palette.

    Parameters
    ----------
    data : the bytes of the file
    path : where they are from; `.npy` is a NumPy array of integers, everything else an image

    Raises
    ------
    PipeError
        The bytes do not decode, or do not hold one 8-bit code per pixel.
    """
    if path.suffix.lower() == ".npy":
        return _narrowed(_array(data, path), path)
    mask = decode(data, path)
    # A file without loss may hold any code: what that means is the protocol's to say.
    if not (rules.label_codes and _has_loss(mask, data)):
        return _values(mask, path, rules)
    grey = (
        mask if mask.mode == "L" or rules.palette else mask.convert("RGB").getchannel(0)
    )  # all channels alike, if any
    values = _values(grey, path, rules)
    _require_known(values, path, rules.label_codes)
    return values


def fitted(values: np.ndarray, size: tuple[int, int], path: Path, rules: MaskRules) -> np.ndarray:
    """Return a mask at the size (height, width) of its picture.

    Raises
    ------
    PipeError
        Its size is another, and not by a whole factor, or nobody asked for resampling.
    """
    if values.shape == size:
        return values
    if not (rules.resize and whole_factor(values.shape, size)):
        raise PipeError(f"{path}: the mask is no longer of its picture's size", "restore-data")
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.NEAREST))


def whole_factor(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether two sizes (height, width) differ by one whole factor, the same in both directions."""
    small, large = sorted((tuple(one), tuple(other)))
    # The same factor both ways: anything else would stretch objects.
    return large[0] % small[0] == 0 and large[0] // small[0] * small[1] == large[1]


def meanings(text: str) -> dict[str, frozenset[int]]:
    """Return the codes of each meaning in a text such as `normal=0,anomaly=1-2,void=255`."""
    return {name: _codes_in(part) for name, part in (item.split("=") for item in text.split(","))}


def known_codes(text: str) -> frozenset[int]:
    """Return every code that stands in such a text."""
    return frozenset().union(*meanings(text).values())


def _codes_in(text: str) -> frozenset[int]:
    ranges = [(int(low), int(high or low)) for low, high in re.findall(r"(\d+)(?:-(\d+))?", text)]
    return frozenset(code for low, high in ranges for code in range(low, high + 1))


def _values(mask: Image.Image, path: Path, rules: MaskRules) -> np.ndarray:
    values = np.asarray(mask)
    if mask.mode in INDEXED_MODES:
        return values.astype(np.uint8)
    if mask.mode in WIDE_MODES:
        return _narrowed(values, path)
    if mask.mode in COLOUR_MODES:
        return _single_channel(values, path, rules.palette)
    raise NoCodesError(
        f"{path}: a mask must hold one 8-bit code per pixel, but its mode is {mask.mode}; save it as grey"
    )


def _array(data: bytes, path: Path) -> np.ndarray:
    with naming(path):
        # A pickle inside an .npy would run code.
        values = np.load(io.BytesIO(data), allow_pickle=False)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise PipeError(
            f"{path}: a mask must be an array of integers (height, width), found {values.dtype} {values.shape}"
        )
    return values


def _narrowed(values: np.ndarray, path: Path) -> np.ndarray:
    if values.min() < 0 or values.max() > 255:
        raise NoCodesError(
            f"{path}: the codes of a mask must lie in 0..255, but {values.min()}..{values.max()} was found; "
            "save it with 8 bits per pixel"
        )
    return values.astype(np.uint8)


def _single_channel(values: np.ndarray, path: Path, palette: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    # Without alpha, which says nothing of a code.
    colour = values[..., :3] if values.shape[-1] > 2 else values[..., :1]
    if not (colour != colour[..., :1]).any():
        return np.ascontiguousarray(colour[..., 0])
    if not palette:
        raise NoCodesError(
            f"{path}: a mask must hold one code per pixel, but its colour channels differ; "
            "save it as grey or with a palette, and without loss"
        )
    return _by_palette(colour, path, palette)


def _by_palette(colour: np.ndarray, path: Path, palette: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    # One integer for each colour, so that `np.unique` sorts plain numbers and not rows of three.
    packed = (colour.astype(np.int32) * (1 << 16, 1 << 8, 1)).sum(axis=-1, dtype=np.int32)
    found, positions = np.unique(packed, return_inverse=True)
    colours = [(value >> 16, value >> 8 & 255, value & 255) for value in found.tolist()]
    if strange := [each for each in colours if each not in palette]:
        count = int(np.isin(packed, [r << 16 | g << 8 | b for r, g, b in strange]).sum())
        raise PipeError(f"{path}: {count} pixels have colours that the layout's palette lacks, such as {strange[0]}")
    return np.array([palette[each] for each in colours], np.uint8)[positions].reshape(packed.shape)


def _has_loss(mask: Image.Image, data: bytes) -> bool:
    """Return whether the file's compression may have changed codes."""
    return mask.format in ("JPEG", "MPO") or (mask.format == "WEBP" and b"VP8 " in data[:4096])


def _require_known(values: np.ndarray, path: Path, label_codes: str) -> None:
    known = known_codes(label_codes)
    counts = np.bincount(values.reshape(-1), minlength=256)
    if between := sum(int(count) for code, count in enumerate(counts) if code not in known):
        raise PipeError(
            f"{path}: this kind of file loses detail, and {between} of {values.size} pixels have codes other than "
            f"{label_codes}; take the mask as PNG"
        )

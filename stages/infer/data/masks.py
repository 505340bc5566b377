"""Ground truth: the raw codes of a mask file. What a code means is a protocol, chosen when scoring."""

from pathlib import Path

import numpy as np
from PIL import Image

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.imagefile import decode, image_size, read_bytes

INDEXED_MODES = ("L", "P", "1")
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
COLOUR_MODES = ("RGB", "RGBA", "LA")
"""Modes with the code in every channel: lossless WebP, for one, knows no grey images. Alpha says nothing."""


def read_codes(path: Path) -> np.ndarray:
    """Read the raw codes of a mask file: uint8 (height, width).

    Raises
    ------
    PipeError
        The file cannot be read or decoded, or does not hold one 8-bit code per pixel.
    """
    image_size(path)  # by the header alone, before anything is decoded
    return codes(decode(read_bytes(path), path), path)


def codes(mask: Image.Image, path: Path) -> np.ndarray:
    """Return the raw codes of a decoded mask: uint8 (height, width); palette indices where it has a palette.

    Raises
    ------
    PipeError
        The mask does not hold one 8-bit code per pixel.
    """
    values = np.asarray(mask)
    if mask.mode in INDEXED_MODES:
        return values.astype(np.uint8)
    if mask.mode in WIDE_MODES:
        return _narrowed(values, path)
    if mask.mode in COLOUR_MODES:
        return _single_channel(values, path)
    raise PipeError(
        f"{path}: a mask must hold one 8-bit code per pixel, but its mode is {mask.mode}; save it as grey"
    )


def _narrowed(values: np.ndarray, path: Path) -> np.ndarray:
    if values.min() < 0 or values.max() > 255:
        raise PipeError(
            f"{path}: the codes of a mask must lie in 0..255, but {values.min()}..{values.max()} was found; "
            "save it with 8 bits per pixel"
        )
    return values.astype(np.uint8)


def _single_channel(values: np.ndarray, path: Path) -> np.ndarray:
    colour = values[..., :3] if values.shape[-1] > 2 else values[..., :1]
    if (colour != colour[..., :1]).any():
        raise PipeError(
            f"{path}: a mask must hold one code per pixel, but its colour channels differ; "
            "save it as grey or with a palette, and without loss"
        )
    return np.ascontiguousarray(colour[..., 0])

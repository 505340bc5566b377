"""A picture and its mask, from files to what the network, the maps and the store want."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data import masks
from logitpipe.stages.infer.data.datasets import Sample
from logitpipe.stages.infer.data.imagefile import decode, read_bytes

PREPROCESSING = {
    "colour": "RGB, 8 bits, divided by 255; an alpha channel is dropped, an EXIF orientation is not applied",
    "resize": "to input_size by PIL.Image.resize with BILINEAR, aspect ratio not kept",
}
"""How a picture becomes the network's input, for whoever reads the store."""

DEEP_MODES = ("I", "F")


@dataclass(frozen=True)
class Prepared:
    """All that one sample adds to a batch and to the store.

    Parameters
    ----------
    pixels : uint8 (H, W, 3), the picture at the network's input size
    preview : uint8 (ceil(H / 2), ceil(W / 2), 3), the same at half the size
    labels : uint8 (height, width), raw codes of the mask at its own size
    sources : SHA-256 of both files
    """

    pixels: np.ndarray
    preview: np.ndarray
    labels: np.ndarray
    sources: dict[str, str]


def prepare(sample: Sample, input_size: tuple[int, int]) -> Prepared:
    """Read and decode a sample; each file is read once, and hashed as it was decoded.

    Parameters
    ----------
    sample : which files
    input_size : height and width of the network's input

    Raises
    ------
    PipeError
        A file cannot be read or decoded, or does not hold what it should.
    """
    picture_data, mask_data = read_bytes(sample.image), read_bytes(sample.mask)
    picture = _as_rgb(decode(picture_data, sample.image), sample.image)
    mask = decode(mask_data, sample.mask)
    if mask.size != picture.size:
        raise PipeError(
            f"{sample.mask}: the mask is no longer of its picture's size; let the data set be, then retry"
        )
    seen = picture.resize(input_size[::-1], Image.Resampling.BILINEAR)
    return Prepared(
        pixels=np.asarray(seen),
        preview=np.asarray(seen.reduce(2)),
        labels=masks.codes(mask, sample.mask),
        sources={"image_sha256": sha256(picture_data), "mask_sha256": sha256(mask_data)},
    )


def _as_rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith(DEEP_MODES):  # a conversion would clip the values, not scale them
        raise PipeError(f"{path}: expected a picture with 8 bits per channel, its mode is {picture.mode}; convert it")
    picture.info.pop("transparency", None)  # it is dropped anyway, and Pillow would warn of it
    return picture.convert("RGB")


def sha256(data: bytes) -> str:
    """Return the digest that a completion record holds of a file."""
    return hashlib.sha256(data).hexdigest()

"""A picture and its mask, from files to what the network, the maps and the store want."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.geometry import Size
from logitpipe.stages.infer.data import masks
from logitpipe.stages.infer.data.geometry import Frame, Resize
from logitpipe.stages.infer.data.imagefile import decode, read_stamped
from logitpipe.stages.infer.data.layout import Sample
from logitpipe.stages.infer.data.masks import AS_THEY_LIE, MaskRules

PREPROCESSING = {
    "colour": "RGB, 8 bits, divided by 255; an alpha channel is dropped, an EXIF orientation is not applied",
    "resize": "to input_size by PIL.Image.resize with BILINEAR, aspect ratio not kept",
}
"""How a picture becomes the network's input, for whoever reads a store of version 1."""

DEEP_MODES = ("I", "F")


@dataclass(frozen=True)
class Prepared:
    """All that one sample adds to a batch and to the store.

    Parameters
    ----------
    pixels : uint8 (H, W, 3), the picture as it is resized
    frame : where it lies in the network's input
    preview : uint8 (ceil(H / 2), ceil(W / 2), 3), the same at half the size
    size : height and width of the picture itself
    labels : uint8 (height, width), raw codes of the mask at its own size; (0, 0) where there is no mask
    sources : of each file the SHA-256 and `file_stamp`, of the mask also how often each code occurs
    """

    pixels: np.ndarray
    frame: Frame
    preview: np.ndarray
    size: tuple[int, int]
    labels: np.ndarray
    sources: dict[str, str]

    def crops(self) -> list[np.ndarray]:
        """Return what lies on the picture of each window: uint8, at most as large as the network's input."""
        return [self.pixels[top:bottom, left:right] for top, left, bottom, right in self.frame.windows]


def prepare(
    sample: Sample,
    resize: Resize | Size,
    rules: MaskRules = AS_THEY_LIE,
) -> Prepared:
    """Read and decode a sample; each file is read once, and hashed as it was decoded.

    Parameters
    ----------
    sample : which files
    resize : how pictures come to the network's input; a height and a width are those to squash to
    rules : how the mask's file becomes codes

    Raises
    ------
    PipeError
        A file cannot be read or decoded, or does not hold what it should.
    """
    data, stamp = read_stamped(sample.image)
    picture = _as_rgb(decode(data, sample.image), sample.image)
    sources = {"image_sha256": sha256(data), "image_stamp": stamp}
    labels = np.zeros((0, 0), np.uint8)
    if sample.mask:
        data, stamp = read_stamped(sample.mask)
        # Masks are never resized to the input: scoring compares at the mask's own size.
        labels = masks.fitted(masks.codes(data, sample.mask, rules), picture.size[::-1], sample.mask, rules)
        sources |= {"mask_sha256": sha256(data), "mask_stamp": stamp, "mask_codes": code_counts(labels)}
    # PIL says (width, height); everything here says (height, width).
    size = picture.height, picture.width
    frame = (resize if isinstance(resize, Resize) else Resize.of(resize)).frame(size)
    # Pillow's filter widens where it shrinks, so that no pixel is passed over; that of torch does not by itself.
    seen = picture.resize(frame.resized[::-1], Image.Resampling.BILINEAR)
    # The preview is made of what the network saw, so that a page shows it without the picture's file.
    return Prepared(np.asarray(seen), frame, np.asarray(seen.reduce(2)), size, labels, sources)


def code_counts(labels: np.ndarray) -> str:
    """Return how many pixels of a mask have each code, such as `0:7578030 1:1317063`."""
    counts = Image.fromarray(labels).histogram()  # a tenth of the time of numpy.bincount
    return " ".join(f"{code}:{count}" for code, count in enumerate(counts) if count)


def _as_rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith(DEEP_MODES):  # a conversion would clip the values, not scale them
        raise PipeError(f"{path}: expected a picture with 8 bits per channel, its mode is {picture.mode}; convert it")
    picture.info.pop("transparency", None)  # it is dropped anyway, and Pillow would warn of it
    return picture.convert("RGB")


def sha256(data: bytes) -> str:
    """Return the digest that a completion record holds of a file."""
    return hashlib.sha256(data).hexdigest()

"""Geometry of an image: its sizes from the picture's file to the logits, and the windows it was cut into."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

Size = tuple[int, int]
"""Height and width."""

Box = tuple[int, int, int, int]
"""Top, left, bottom and right on the resized picture; the bottom row and the right column are the first outside."""


def by(size: Size) -> str:
    """Return a size in words: `HxW`."""
    return f"{size[0]}x{size[1]}"


@dataclass(frozen=True)
class Geometry:
    """Sizes of one image, and its windows.

    Parameters
    ----------
    picture : of the picture's file
    resized : of the picture as it was resized for the network
    padded : of the network's input, or of one window of it; beyond `resized` it is padding, right and below
    logits : of the logits, or of the mask logits of one window
    labels : of the mask's file; (0, 0) where there is no mask
    preview : of the preview
    windows : where each window of the network lies; one that covers everything is the ordinary case

    Raises
    ------
    ValueError
        No image can have these sizes.
    """

    SIZES: ClassVar[tuple[str, ...]] = ("picture", "resized", "padded", "logits", "labels", "preview")

    picture: Size
    resized: Size
    padded: Size
    logits: Size
    labels: Size
    preview: Size
    windows: tuple[Box, ...]

    def __post_init__(self) -> None:
        # (0, 0) is allowed for labels only, where it means that there is no mask.
        sizes = [getattr(self, name) for name in self.SIZES if name != "labels" or any(self.labels)]
        if min(min(size) for size in sizes) < 1:
            raise ValueError(f"sizes must be positive: {sizes}")
        if not self.windows or any(not (0 <= t < b and 0 <= left < r) for t, left, b, r in self.windows):
            raise ValueError(f"windows must cover some of the picture: {self.windows}")

    @classmethod
    def squashed(cls, picture: Size, padded: Size, logits: Size, labels: Size, preview: Size) -> "Geometry":
        """Sizes of an image that was resized to the network's input, whatever its own size, in one window."""
        return cls(picture, padded, padded, logits, labels, preview, ((0, 0, *padded),))

    def to_arrays(self, windows: int) -> dict[str, np.ndarray]:
        """Return the arrays of a store: int32 `geometry` (6, 2) and `window_box` (windows, 4), empty at the end."""
        boxes = np.zeros((windows, 4), np.int32)
        boxes[: len(self.windows)] = self.windows
        return {"geometry": np.array([getattr(self, name) for name in self.SIZES], np.int32), "window_box": boxes}

    @classmethod
    def from_arrays(cls, geometry: np.ndarray, window_box: np.ndarray) -> "Geometry":
        """Read the arrays of `to_arrays` back; ValueError where they say nothing that can be."""
        picture, resized, padded, logits, labels, preview = ((height, width) for height, width in geometry.tolist())
        boxes = [(top, left, bottom, right) for top, left, bottom, right in window_box.tolist()]
        # An unused entry of the array is all zeros, which no real window is: it must have bottom > 0.
        used = [box for box in boxes if any(box)]
        if boxes[: len(used)] != used:
            raise ValueError("an empty window stands before others")
        return cls(picture, resized, padded, logits, labels, preview, tuple(used))

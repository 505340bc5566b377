"""How pictures come to the size of a network's input: the rules of resizing, windows and padding.

A rule is one text, and means

| rule | the picture |
|---|---|
| ``HxW`` | is resized to that size, whatever its own shape |
| ``windows:N`` | is resized until its shorter side is N, and cut into NxN windows along the longer one, as for EoMT |
| ``short:N``, ``short:N:M`` | is resized until its shorter side is N, but its longer one at most M |
| ``long:N`` | is resized until its longer side is N |
| ``pad:N`` | the same, and padded to NxN |
| ``native`` | is not resized |
| ``slide:HxW:SHxSW`` | is cut into HxW windows that are SHxSW apart; also after another rule and a ``+`` |

Sides are rounded as Python rounds. Where they are no multiples of what the network needs, they are padded.
"""

import math
import re
from dataclasses import dataclass

from logitpipe.cache.errors import UsageError
from logitpipe.cache.format.geometry import Box, Size, by

RULES = "HxW, windows:N, short:N, long:N, pad:N, native or slide:HxW:SHxSW"
MOST_PIXELS = 1 << 26
"""Of a network's input, 8192x8192: what is beyond no store could hold, and few machines compute."""

_NUMBER, _SIZE = r"([1-9]\d{0,5})", r"([1-9]\d{0,5})x([1-9]\d{0,5})"


@dataclass(frozen=True)
class Frame:
    """Where a picture of one size lies in the network's input.

    Parameters
    ----------
    resized : size of the picture as it is resized
    padded : of the network's input, or of one window of it
    windows : boxes of that size on the resized picture; what exceeds it, right and below, is padding
    """

    resized: Size
    padded: Size
    windows: tuple[Box, ...]


@dataclass(frozen=True)
class Resize:
    """A rule of resizing.

    Parameters
    ----------
    base : "native", "squash" (HxW), "windows", "short", "long" or "pad"
    size : height and width, or N twice; (0, 0) of "native"
    most : of "short", what the longer side is at most; 0 for any length
    crop, stride : of a window that slides over the resized picture; (0, 0) where none does
    multiple : of so many pixels both sides of the network's input are
    """

    base: str
    size: Size = (0, 0)
    most: int = 0
    crop: Size = (0, 0)
    stride: Size = (0, 0)
    multiple: int = 1

    @classmethod
    def parse(cls, text: str, multiple: int = 1) -> "Resize":
        """Read a rule.

        Raises
        ------
        UsageError
            It is none, its windows leave gaps, or as for `check_input_size`.
        """
        first, _, slide = text.partition("+")
        if first.startswith("slide:"):
            first, slide = "native", text
        found = re.fullmatch(rf"{_SIZE}|(windows|short|long|pad):{_NUMBER}(?::{_NUMBER})?|native", first, re.ASCII)
        sliding = re.fullmatch(rf"slide:{_SIZE}:{_SIZE}", slide, re.ASCII)
        if not found or (found[5] and found[3] != "short") or ("slide" in text or "+" in text) != bool(sliding):
            raise UsageError(f"a rule of resizing is {RULES}, and {text!r} is none")
        height, width, kind, number, most = found.groups()
        base = "squash" if height else kind or "native"
        size = (int(height), int(width)) if height else (int(number or 0), int(number or 0))
        h, w, y, x = map(int, sliding.groups()) if sliding else (0, 0, 0, 0)
        # A stride beyond the window would leave pixels without logits.
        if sliding and (base in ("windows", "pad") or y > h or x > w):
            fault = "leave gaps between them" if y > h or x > w else f"slide over a picture, not over {base}"
            raise UsageError(f"windows of the rule {text!r} {fault}")
        rule = cls(base, size, int(most or 0), (h, w), (y, x), multiple)
        if rule.input_size:
            check_input_size(rule.input_size, multiple)
        return rule

    @classmethod
    def of(cls, rule: "str | Size", multiple: int = 1) -> "Resize":
        """Return a rule given as text, or as the size to squash to; raises as `parse`."""
        if isinstance(rule, str):
            return cls.parse(rule, multiple)
        check_input_size(rule, multiple)
        return cls("squash", rule, multiple=multiple)

    def __str__(self) -> str:
        """The text of the rule."""
        base = {"native": "native", "squash": by(self.size)}.get(self.base, f"{self.base}:{self.size[0]}")
        base += f":{self.most}" if self.most else ""
        slide = f"slide:{by(self.crop)}:{by(self.stride)}"
        return base if not any(self.crop) else slide if base == "native" else f"{base}+{slide}"

    @property
    def input_size(self) -> Size | None:
        """Size of the network's input, or of a window of it, where no picture changes it."""
        if any(self.crop):
            return self.crop
        return self.size if self.base in ("squash", "windows", "pad") else None

    @property
    def probe_size(self) -> Size:
        """A size of the network's input that may occur."""
        return self.input_size or self._up((max(self.size[0], 512 if self.base == "native" else 0),) * 2)

    @property
    def is_windowed(self) -> bool:
        """Whether pictures are cut into windows; of some pictures there may be only one."""
        return self.base == "windows" or any(self.crop)

    def frame(self, picture: Size) -> Frame:
        """Return where a picture of a size, (height, width), lies in the input."""
        resized = self._resized(picture)
        if any(self.crop):
            # A picture that is smaller than the window is one window of its own size.
            window = self._up((min(self.crop[0], resized[0]), min(self.crop[1], resized[1])))
            tops, lefts = (_starts(*sides) for sides in zip(resized, self.crop, self.stride, strict=True))
            corners = [(top, left) for top in tops for left in lefts]
        elif self.base == "windows":
            window, corners = self.size, _windows(resized, self.size[0])
        else:
            window = self.size if self.base == "pad" else self._up(resized)
            corners = [(0, 0)]
        return Frame(resized, window, tuple((top, left, top + window[0], left + window[1]) for top, left in corners))

    def _resized(self, picture: Size) -> Size:
        if self.base in ("native", "squash"):
            return self.size if self.base == "squash" else picture
        factors = [wanted / side for wanted, side in zip(self.size, picture, strict=True)]
        # The larger factor brings the shorter side to N, the smaller one the longer side.
        factor = max(factors) if self.base in ("windows", "short") else min(factors)
        if self.most:
            factor = min(factor, self.most / max(picture))
        height, width = (max(1, round(side * factor)) for side in picture)
        return height, width

    def _up(self, size: Size) -> Size:
        height, width = (-(-side // self.multiple) * self.multiple for side in size)
        return height, width


def _windows(resized: Size, size: int) -> list[tuple[int, int]]:
    """Return the top left corners of square windows along the longer side, as EoMT's authors cut them."""
    longer = max(resized)
    count = math.ceil(longer / size)
    # As few windows as cover the picture; what they cover too much is shared out among their borders.
    overlap = count * size - longer
    step = size - (overlap / (count - 1) if overlap > 0 else 0)
    # The last one ends with the picture: where upstream's rounding makes it end a pixel before, its S is NaN there.
    starts = [*(int(i * step) for i in range(count - 1)), longer - size]
    return [(start, 0) if resized[0] > resized[1] else (0, start) for start in starts]


def _starts(side: int, crop: int, stride: int) -> list[int]:
    """Return where windows begin along one side: a stride apart, the last moved back to end with the picture."""
    count = max(0, -(-(side - crop) // stride)) + 1
    # Moved back and not cut: all windows of a picture are of one size.
    return [max(0, min(i * stride, side - crop)) for i in range(count)]


def check_input_size(size: Size, multiple: int) -> None:
    """Raise UsageError unless both sides of the (H, W) in pixels are positive multiples, within what can be held."""
    if any(side < 1 or side % multiple for side in size):
        raise UsageError(
            f"Both sides of the network's input must be multiples of {multiple} pixels; "
            f"found {size[0]}x{size[1]} (HxW)",
            "other-input-size",
        )
    if size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"The network's input may have at most {MOST_PIXELS} pixels; found {size[0]}x{size[1]} (HxW)",
            "other-input-size",
        )

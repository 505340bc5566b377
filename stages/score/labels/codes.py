"""From the raw codes of a mask to normal, anomaly and ignored pixels."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from logitpipe.cache import PipeError, UsageError
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED, NORMAL

UNKNOWN = 3
"""Beside NORMAL, ANOMALY and IGNORED: a code without a meaning, which is refused and never passed over."""

_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True)
class LabelCodes:
    """What the codes of a mask mean; a code in none of the sets is an error.

    Parameters
    ----------
    normal, anomaly, void : codes from 0 to 255
    """

    normal: frozenset[int]
    anomaly: frozenset[int]
    void: frozenset[int]

    @classmethod
    def parse(cls, text: str, needs_anomaly: bool = True) -> "LabelCodes":
        """Read `normal=0,anomaly=1-2,void=255`; several codes or ranges are joined by `+`.

        Parameters
        ----------
        text : what stands on the command line, in a protocol or in a store
        needs_anomaly : whether anomaly must have a code: masks of classes alone have none

        Raises
        ------
        UsageError
            Another form, a code above 255, a code with two meanings, or no code for normal or for anomaly.
        """
        sets: dict[str, frozenset[int]] = {}
        for item in text.split(","):
            name, _, codes = item.partition("=")
            if name not in ("normal", "anomaly", "void") or name in sets:
                raise UsageError(f"normal=0,anomaly=1-2,void=255 is the form; found {item!r}", option="label_codes")
            sets[name] = frozenset(_codes(codes))
        if not sets.get("normal") or (needs_anomaly and not sets.get("anomaly")):
            raise UsageError("both `normal` and `anomaly` need a code", option="label_codes")
        every = [code for codes in sets.values() for code in codes]
        if len(every) != len(set(every)):
            raise UsageError(f"a code has two meanings in {text!r}", option="label_codes")
        return cls(sets["normal"], sets.get("anomaly", frozenset()), sets.get("void", frozenset()))

    def text(self) -> str:
        """Return the text that `parse` reads, such as `normal=0,anomaly=1-2,void=255`."""
        sets = {"normal": self.normal, "anomaly": self.anomaly, "void": self.void}
        return ",".join(f"{name}={_ranges(codes)}" for name, codes in sets.items() if codes)

    def table(self, void_as_anomaly: bool) -> np.ndarray:
        """Return what each code is: uint8 (256,), NORMAL, ANOMALY, IGNORED or UNKNOWN."""
        table = np.full(256, UNKNOWN, np.uint8)
        table[list(self.normal)] = NORMAL
        table[list(self.anomaly)] = ANOMALY
        table[list(self.void)] = ANOMALY if void_as_anomaly else IGNORED
        return table


STANDARD_CODES = LabelCodes(frozenset({0}), frozenset({1, 2}), frozenset({255}))


def codes_for(told: LabelCodes | None, own: str | None) -> LabelCodes:
    """Return what the masks of a store mean.

    Parameters
    ----------
    told : by the command line or a protocol; it comes first
    own : what the store says of its data set; None where it says nothing
    """
    return told or (LabelCodes.parse(own, needs_anomaly=False) if own else STANDARD_CODES)


def classify(codes: np.ndarray, table: np.ndarray, where: str) -> np.ndarray:
    """Return what each pixel is, in the shape of `codes`.

    Parameters
    ----------
    codes : uint8 (H, W), raw codes
    table : uint8 (256,) of `LabelCodes.table`
    where : names the image in an error

    Raises
    ------
    PipeError
        A code that the protocol does not know.
    """
    # `table[codes]` would make an index of eight bytes for each pixel first.
    labels = np.frombuffer(bytearray(codes.tobytes()).translate(table.tobytes()), np.uint8).reshape(codes.shape)
    if (labels == UNKNOWN).any():
        unknown = codes[labels == UNKNOWN]
        found = ", ".join(
            f"{code} ({n} pixels)" for code, n in zip(*np.unique(unknown, return_counts=True), strict=True)
        )
        raise PipeError(
            f"{where}: its mask holds codes that the protocol does not know: {found}",
            "label-codes",
        )
    return labels


def resize_nearest(codes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask at another size (height, width) by nearest neighbour, as Pillow does it."""
    if codes.shape == size:
        return codes
    return np.asarray(Image.fromarray(codes).resize((size[1], size[0]), Image.Resampling.NEAREST))


def _ranges(codes: Iterable[int]) -> str:
    """Return codes as `1-2+255`."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and runs[-1][-1] == code - 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    return "+".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _codes(text: str) -> Iterable[int]:
    for part in text.split("+"):
        match = _PART.fullmatch(part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not low <= high <= 255:
            raise UsageError(f"a code or a range from 0 to 255 is expected, found {part!r}", option="label_codes")
        yield from range(low, high + 1)

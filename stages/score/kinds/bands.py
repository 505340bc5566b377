"""Planes and the rows of the evaluation size that are sampled from them: an image is scored band by band."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from logitpipe.cache import IntegrityError
from logitpipe.stages.score.kernels.resampling import Axis, axis_weights, sample_band

Size = tuple[int, int]

BAND_BYTES = 8 << 20
"""What the planes of one band of rows should take at most."""

LEAST_ROWS, MOST_ROWS = 4, 64
"""Of a band: each reads the last row of the band before once more, and the planes of a larger one leave the cache."""


class Band(NamedTuple):
    """Planes from which some rows of the evaluation size are sampled.

    Parameters
    ----------
    values : (P, h, w), float32 or patterns of float16
    rows : of the evaluation size
    axes : `axis_weights` of these rows and of all columns, into `values`
    """

    values: np.ndarray
    rows: slice
    axes: tuple[Axis, Axis]


class Stretch(NamedTuple):
    """Some rows of a target, and which source rows they are sampled from.

    Parameters
    ----------
    rows : of the target
    top, bottom : the source rows [top, bottom)
    axis : `axis_weights` of `rows` into these source rows
    """

    rows: slice
    top: int
    bottom: int
    axis: Axis


def axes(source: tuple[int, ...], target: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Return how rows and columns of the store map to those of evaluation."""
    return axis_weights(source[0], target[0]), axis_weights(source[1], target[1])


def band_rows(row_bytes: int) -> int:
    """Return how many rows a band should have of which one takes so many bytes."""
    return max(LEAST_ROWS, min(MOST_ROWS, BAND_BYTES // max(1, row_bytes)))


def stretches(axis: Axis, source: int, most: int) -> Iterator[Stretch]:
    """Divide the rows of a target so that each part is sampled from about `most` of its source rows."""
    first, weight = axis
    step = max(1, most * first.size // source)
    for start in range(0, first.size, step):
        rows = slice(start, min(start + step, first.size))
        top, bottom = int(first[rows][0]), min(int(first[rows][-1]) + 2, source)
        yield Stretch(rows, top, bottom, (first[rows] - top, weight[rows]))


def resampled(planes: np.ndarray, to: tuple[Axis, Axis]) -> np.ndarray:
    """Return all planes resampled along both axes, in memory of their own: float32 (P, rows, columns)."""
    out = np.empty((len(planes), to[0][0].size, to[1][0].size), np.float32)
    sample_band(planes, np.arange(len(planes)), 0, to, out)
    return out


def sampled(band: Band, chosen: Sequence[int], rows: slice) -> np.ndarray:
    """Return some rows of the evaluation size of chosen planes: float32 (len(chosen), rows, W)."""
    out = np.empty((len(chosen), rows.stop - rows.start, band.axes[1][0].size), np.float32)
    sample_band(band.values, np.array(chosen, np.int64), rows.start - band.rows.start, band.axes, out)
    return out


def not_finite(count: int) -> IntegrityError:
    """Return the error for planes with values that are not finite."""
    return IntegrityError(f"finite logits were expected, {count} are NaN or infinite")

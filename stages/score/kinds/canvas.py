"""From the grid of logits to the evaluation size: windows averaged on the resized picture, padding cut off.

Planes of one window without padding are resampled once, straight to the evaluation size. All others go through the
resized picture: each window's planes are resampled to the window's size, cut where it exceeds the picture, averaged
with those of other windows, and the picture's are resampled to the evaluation size. All of that is linear, and is
done by bands of rows: no plane ever exists at the size of the whole picture.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from logitpipe.cache import IntegrityError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.stages.score.kernels.merging import add_window
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


class _Columns(NamedTuple):
    """How the columns of a window become those of a band; see `merging.add_window`."""

    base: np.ndarray
    weights: np.ndarray
    is_shift: bool
    left: int


def axes(source: tuple[int, ...], target: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Return how rows and columns of the store map to those of evaluation."""
    return axis_weights(source[0], target[0]), axis_weights(source[1], target[1])


def band_rows(row_bytes: int) -> int:
    """Return how many rows a band should have of which one takes so many bytes."""
    return max(LEAST_ROWS, min(MOST_ROWS, BAND_BYTES // max(1, row_bytes)))


def stretches(source: int, target: int, most: int) -> Iterator[Stretch]:
    """Divide the rows of a target so that each part is sampled from about `most` source rows."""
    first, weight = axis_weights(source, target)
    step = max(1, most * target // source)
    for start in range(0, target, step):
        rows = slice(start, min(start + step, target))
        top, bottom = int(first[rows][0]), min(int(first[rows][-1]) + 2, source)
        yield Stretch(rows, top, bottom, (first[rows] - top, weight[rows]))


class Canvas:
    """The resized picture of an image, seen at a target size.

    Parameters
    ----------
    geometry : of the image
    size : height and width of the target

    Raises
    ------
    IntegrityError
        The windows leave out a part of the picture, or one is larger than the network's input.
    """

    def __init__(self, geometry: Geometry, size: Size) -> None:
        self.geometry, self.size = geometry, size
        (height, width), most = geometry.resized, geometry.padded
        if any(b - t > most[0] or r - left > most[1] for t, left, b, r in geometry.windows):
            raise IntegrityError(f"windows {geometry.windows} are larger than the network's input {most}")
        # What exceeds the picture is padding.
        self.boxes = [(t, left, min(b, height), min(r, width)) for t, left, b, r in geometry.windows]
        # Between neighbouring edges the windows that reach into a row are always the same.
        self.edges = sorted({0, height, *(y for t, _, b, _ in self.boxes for y in (t, b) if y < height)})
        self._known: dict[tuple[int, tuple[int, ...], int], _Columns] = {}
        for top in self.edges[:-1]:
            if not self._cover(self._active(top)).all():
                raise IntegrityError(
                    f"windows {geometry.windows} do not cover the resized picture {geometry.resized}"
                )

    def bands(self, planes: Sequence[np.ndarray]) -> Iterator[Band]:
        """Yield the planes of all windows, averaged: (P, h, w) of each, over its whole input."""
        identity = axis_weights(self.size[1], self.size[1])
        for part in stretches(self.geometry.resized[0], self.size[0], band_rows(4 * len(planes[0]) * self.size[1])):
            values = self.averaged(dict(enumerate(planes)), part.top, part.bottom)
            yield Band(values, part.rows, (part.axis, identity))

    def averaged(self, planes: Mapping[int, np.ndarray], top: int, bottom: int, is_cut: bool = False) -> np.ndarray:
        """Return rows [top, bottom) of the average of all windows: float32 (P, bottom - top, width of the target).

        Parameters
        ----------
        planes : (P, h, w) of each window that reaches into them, over its whole input; or, if `is_cut`, at the size
            of the window, of the rows alone that lie between `top` and `bottom`
        """
        out = np.zeros((len(next(iter(planes.values()))), bottom - top, self.size[1]), np.float32)
        for start, end in self._runs(top, bottom):
            active = self._active(start)
            for w in active:
                box = self.boxes[w]
                if is_cut:
                    first = np.arange(start, end) - max(top, box[0])
                    rows = first, np.zeros(end - start, np.float32)
                else:
                    first, weight = axis_weights(planes[w].shape[1], self.geometry.padded[0])
                    rows = first[start - box[0] : end - box[0]], weight[start - box[0] : end - box[0]]
                columns = self._columns(w, active, planes[w].shape[2], is_cut)
                add_window(planes[w], rows, *columns, out, start - top)
        return out

    def window_rows(self, w: int, top: int, bottom: int) -> slice:
        """Return which rows of a window lie in rows [top, bottom) of the picture; of some windows none."""
        box = self.boxes[w]
        return slice(max(top, box[0]) - box[0], max(min(bottom, box[2]), max(top, box[0])) - box[0])

    def window_width(self, w: int) -> int:
        """Return how many columns of a window lie on the picture."""
        return self.boxes[w][3] - self.boxes[w][1]

    def _runs(self, top: int, bottom: int) -> Iterator[tuple[int, int]]:
        """Divide rows so that in each part the same windows reach into all of them."""
        ends = [y for y in self.edges if top < y < bottom]
        yield from zip([top, *ends], [*ends, bottom], strict=True)

    def _active(self, y: int) -> tuple[int, ...]:
        """Return the windows that reach into a row."""
        return tuple(w for w, (t, left, b, r) in enumerate(self.boxes) if t <= y < b and left < r)

    def _cover(self, active: Sequence[int]) -> np.ndarray:
        """Return how many of some windows cover each column."""
        count = np.zeros(self.geometry.resized[1], np.int64)
        for w in active:
            count[self.boxes[w][1] : self.boxes[w][3]] += 1
        return count

    def _columns(self, w: int, active: tuple[int, ...], width: int, is_cut: bool) -> _Columns:
        key = w, active, width
        if key not in self._known:
            self._known[key] = self._make_columns(w, active, width, is_cut)
        return self._known[key]

    def _make_columns(self, w: int, active: tuple[int, ...], width: int, is_cut: bool) -> _Columns:
        """Join three maps of columns: from a window's planes to the window, to the picture, to the target."""
        _, left, _, right = self.boxes[w]
        of_window = axis_weights(width, width if is_cut else self.geometry.padded[1])
        first, weight = axis_weights(self.geometry.resized[1], self.size[1])
        count = self._cover(active)
        # Each target column is mixed of two of the picture, each of these of two of the window's planes.
        places, shares = [], []
        for column, share in ((first, 1 - weight), (np.minimum(first + 1, count.size - 1), weight)):
            inside = (left <= column) & (column < right)
            at = np.clip(column - left, 0, right - left - 1)
            share = np.where(inside, share / np.maximum(count[column], 1), 0)
            source, later = of_window[0][at], of_window[1][at]
            places += [source, np.minimum(source + 1, width - 1)]
            shares += [share * (1 - later), share * later]
        place, part = np.array(places), np.array(shares, np.float64)
        used = np.flatnonzero((part > 0).any(axis=0))
        place, part = place[:, used[0] : used[-1] + 1], part[:, used[0] : used[-1] + 1]
        base = np.where(part > 0, place, width).min(axis=0)
        taps = int(np.where(part > 0, place - base, 0).max()) + 1
        base = np.minimum(base, width - taps)  # so that all neighbours exist, also where their weight is 0
        weights = np.zeros((taps, base.size))
        for of_tap, share in zip(place - base, part, strict=True):
            np.add.at(weights, (np.where(share > 0, of_tap, 0), np.arange(base.size)), share)
        is_shift = bool((np.diff(base) == 1).all())
        return _Columns(base, weights.astype(np.float32), is_shift, int(used[0]))


def bands_of(planes: Sequence[np.ndarray], geometry: Geometry | None, size: Size) -> Iterator[Band]:
    """Yield the bands of an image's planes at the evaluation size.

    Parameters
    ----------
    planes : (P, h, w) of each window, float32 or patterns of float16, over its whole input
    geometry : of the image; None where the planes cover it once, without padding
    size : height and width at which the image is evaluated
    """
    if geometry is None or (len(geometry.windows) == 1 and geometry.padded == geometry.resized):
        yield Band(planes[0], slice(0, size[0]), axes(planes[0].shape[1:], size))
    elif len(geometry.windows) == 1 and geometry.resized == size and geometry.windows[0][:2] == (0, 0):
        # Nothing but padding to cut off, so there is one step of resampling here as well.
        whole = axes(planes[0].shape[1:], geometry.padded)
        cut = [(first[:n], weight[:n]) for (first, weight), n in zip(whole, size, strict=True)]
        yield Band(planes[0], slice(0, size[0]), (cut[0], cut[1]))
    else:
        yield from Canvas(geometry, size).bands(planes)


def sampled(band: Band, chosen: Sequence[int], rows: slice) -> np.ndarray:
    """Return some rows of the evaluation size of chosen planes: float32 (len(chosen), rows, W)."""
    out = np.empty((len(chosen), rows.stop - rows.start, band.axes[1][0].size), np.float32)
    sample_band(band.values, np.array(chosen, np.int64), rows.start - band.rows.start, band.axes, out)
    return out

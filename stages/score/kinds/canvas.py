"""From the grid of logits to the evaluation size: windows averaged on the resized picture, padding cut off.

Planes of one window without padding are resampled once, straight to the evaluation size. All others go through the
resized picture: each window's planes are resampled to the window's size, cut where it exceeds the picture, averaged
with those of other windows, and the picture's are resampled to the evaluation size. All of that is linear, and is
done by bands of rows: no plane ever exists at the size of the whole picture.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np

from logitpipe.cache import IntegrityError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.stages.score.kernels.merging import add_columns, mix_rows
from logitpipe.stages.score.kernels.resampling import Axis, axis_weights
from logitpipe.stages.score.kinds.bands import Band, Size, axes, band_rows, resampled, stretches


class _Columns(NamedTuple):
    """How the columns of a window become those of a target; see `merging.add_columns`."""

    base: np.ndarray
    weights: np.ndarray
    is_shift: bool
    left: int


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
        self._known: dict[tuple[int, tuple[int, ...], int, bool], _Columns] = {}
        for top in self.edges[:-1]:
            if not self._cover(self._active(top)).all():
                raise IntegrityError(
                    f"windows {geometry.windows} do not cover the resized picture {geometry.resized}"
                )

    def bands(self, planes: Sequence[np.ndarray]) -> Iterator[Band]:
        """Yield the planes of all windows, averaged: (P, h, w) of each, over its whole input."""
        identity = axis_weights(self.size[1], self.size[1])
        height, most = self.geometry.resized[0], band_rows(4 * len(planes[0]) * self.size[1])
        if len(self.edges) > 2 or len(self._tops(0)) > 1:
            for part in stretches(axis_weights(height, self.size[0]), height, most):
                yield Band(self.averaged(planes, part.top, part.bottom), part.rows, (part.axis, identity))
            return
        # Windows beside each other: as all have the same rows, their columns are joined before rows are resampled.
        rows, source = self._rows_of(planes[0], 0, 0, height), planes[0].shape[1]
        if height == self.size[0]:
            for part in stretches(rows, source, most):
                joined = self._joined(planes, self._active(0), part.top, part.bottom)
                yield Band(joined, part.rows, (part.axis, identity))
            return
        base, weights = _composed(*axis_weights(height, self.size[0]), rows, np.ones(height))
        for start in range(0, self.size[0], most):
            of_band = slice(start, min(start + most, self.size[0]))
            top, bottom = int(base[of_band][0]), int(base[of_band][-1]) + len(weights)
            joined = self._joined(planes, self._active(0), top, bottom)
            values = np.empty((len(joined), of_band.stop - start, self.size[1]), np.float32)
            mix_rows(joined, base[of_band] - top, np.ascontiguousarray(weights[:, of_band]), values)
            yield Band(values, of_band, (axis_weights(values.shape[1], values.shape[1]), identity))

    def averaged(self, planes: Sequence[np.ndarray], top: int, bottom: int) -> np.ndarray:
        """Return rows [top, bottom) of the average of all windows: float32 (P, bottom - top, width of the target).

        Parameters
        ----------
        planes : (P, h, w) of each window, over its whole input
        """
        identity, runs = axis_weights(self.size[1], self.size[1]), list(self._runs(top, bottom))
        out = np.zeros((len(planes[0]), bottom - top, self.size[1]), np.float32) if len(runs) > 1 else None
        for start, end in runs:
            total: np.ndarray | None = None
            for of_row in self._tops(start).values():
                first, weight = self._rows_of(planes[0], of_row[0], start, end)
                low, high = int(first[0]), min(int(first[-1]) + 2, planes[0].shape[1])
                joined = self._joined(planes, self._active(start), low, high, of_row)
                rows = resampled(joined, ((first - low, weight), identity))
                total = rows if total is None else total + rows
            if out is None:
                return cast(np.ndarray, total)
            out[:, start - top : end - top] = total
        return cast(np.ndarray, out)

    def part(self, w: int, planes: np.ndarray, top: int, bottom: int) -> tuple[int, np.ndarray]:
        """Return the part of the average that is one window's, and the target's column where it begins.

        Parameters
        ----------
        planes : float32 (P, rows, columns), at the size of the window, of what lies between rows `top` and `bottom`

        Returns
        -------
        left : of the target
        part : float32 (P, bottom - top, n)
        """
        columns = self._columns(w, self._active(max(top, self.boxes[w][0])), planes.shape[2], is_cut=True)
        n, runs = columns.base.size, [run for run in self._runs(top, bottom) if w in self._active(run[0])]
        if planes.shape[1:] == (bottom - top, n) and len(runs) == 1 and bool((columns.weights == 1).all()):
            return columns.left, planes
        out, first = np.zeros((len(planes), bottom - top, n), np.float32), max(top, self.boxes[w][0])
        for start, end in runs:
            base, weights, is_shift, left = self._columns(w, self._active(start), planes.shape[2], is_cut=True)
            add_columns(planes, start - first, base, weights, is_shift, out, np.array([start - top, 0, end - start]))
        return left, out

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

    def _tops(self, y: int) -> dict[int, list[int]]:
        """Return the windows that reach into a row by their first rows: those of one lie beside each other."""
        found: dict[int, list[int]] = {}
        for w in self._active(y):
            found.setdefault(self.boxes[w][0], []).append(w)
        return found

    def _rows_of(self, planes: np.ndarray, w: int, start: int, end: int) -> Axis:
        """Return how rows [start, end) of the picture map to those of a window's planes."""
        first, weight = axis_weights(planes.shape[1], self.geometry.padded[0])
        rows = slice(start - self.boxes[w][0], end - self.boxes[w][0])
        return first[rows], weight[rows]

    def _joined(
        self,
        planes: Sequence[np.ndarray],
        active: tuple[int, ...],
        top: int,
        bottom: int,
        chosen: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return rows [top, bottom) of the planes of windows beside each other, at the target's width.

        Parameters
        ----------
        active : the windows that the average is over
        chosen : those of them that are added; None for all
        """
        out = np.zeros((len(planes[0]), bottom - top, self.size[1]), np.float32)
        for w in active if chosen is None else chosen:
            base, weights, is_shift, left = self._columns(w, active, planes[w].shape[2], is_cut=False)
            add_columns(planes[w], top, base, weights, is_shift, out, np.array([0, left, bottom - top]))
        return out

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
        key = w, active, width, is_cut
        if key not in self._known:
            self._known[key] = self._make_columns(w, active, width, is_cut)
        return self._known[key]

    def _make_columns(self, w: int, active: tuple[int, ...], width: int, is_cut: bool) -> _Columns:
        """Join three maps of columns: from a window's planes to the window, to the picture, to the target."""
        _, left, _, right = self.boxes[w]
        first, later = axis_weights(width, width if is_cut else self.geometry.padded[1])
        first, later = first[: right - left], later[: right - left]
        share = np.zeros(self.geometry.resized[1])
        share[left:right] = 1 / self._cover(active)[left:right]
        # Columns of the picture beside the window count as its last ones, with a share of 0.
        at = np.clip(np.arange(share.size) - left, 0, right - left - 1)
        of_picture = first[at], later[at]
        base, weights = _composed(*axis_weights(share.size, self.size[1]), of_picture, share)
        used = np.flatnonzero((weights > 0).any(axis=0))
        within = slice(used[0], used[-1] + 1)
        base, weights = base[within], np.ascontiguousarray(weights[:, within])
        return _Columns(base, weights, bool((np.diff(base) == 1).all()), int(used[0]))


def _composed(first: np.ndarray, weight: np.ndarray, inner: Axis, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two maps of positions as one.

    Parameters
    ----------
    first, weight : `axis_weights` of the m targets into the n positions between
    inner : of these into the source
    share : float64 (n,), what each of them is multiplied by; where it is 0, no source position is needed

    Returns
    -------
    base : int64 (m,), the first of t neighbouring source positions
    weights : float32 (t, m), their weights
    """
    places, shares = [], []
    for between, part in ((first, 1 - weight), (np.minimum(first + 1, share.size - 1), weight)):
        source, later = inner[0][between], inner[1][between]
        of_both = part * share[between]
        # Behind the last source position there is none, and its weight is 0.
        places += [source, np.where(later > 0, source + 1, source)]
        shares += [of_both * (1 - later), of_both * later]
    place, part = np.array(places), np.array(shares, np.float64)
    base = np.where(part > 0, place, place.max()).min(axis=0)
    taps = int(np.where(part > 0, place - base, 0).max()) + 1
    base = np.minimum(base, place.max() + 1 - taps)  # so that all neighbours exist, also where their weight is 0
    weights = np.zeros((taps, base.size))
    for of_tap, share_of_tap in zip(place - base, part, strict=True):
        np.add.at(weights, (np.where(share_of_tap > 0, of_tap, 0), np.arange(base.size)), share_of_tap)
    return base, weights.astype(np.float32)


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

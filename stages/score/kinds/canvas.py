"""From the grid of logits to the evaluation size: windows averaged on the resized picture, padding cut off.

Planes of one window without padding are resampled once, straight to the evaluation size. All others go through the
resized picture: each window's planes are resampled to the window's size, cut where it exceeds the picture, averaged
with those of other windows, and the picture's are resampled to the evaluation size. All of that is linear, and is
done by bands of rows: no plane ever exists at the size of the whole picture.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from logitpipe.cache import IntegrityError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.stages.score.kernels.merging import join_columns, mix_rows
from logitpipe.stages.score.kernels.resampling import axis_weights
from logitpipe.stages.score.kinds.bands import Band, Size, Stretch, axes, band_rows, resampled, stretches
from logitpipe.stages.score.kinds.joining import Columns, Piece, Rows, composed, joined_rows


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
        self._known: dict[tuple[int, tuple[int, ...], int, bool], Columns] = {}
        self._stretches: dict[tuple[int, int], list[tuple[slice, Rows]]] = {}
        for top in self.edges[:-1]:
            if not self._cover(self._active(top)).all():
                raise IntegrityError(
                    f"windows {geometry.windows} do not cover the resized picture {geometry.resized}"
                )

    def bands(self, planes: Sequence[np.ndarray]) -> Iterator[Band]:
        """Yield the planes of all windows, averaged: (P, h, w) of each, over its whole input."""
        (height, _), source = self.geometry.resized, planes[0].shape[1]
        most = band_rows(4 * len(planes[0]) * self.size[1])
        if (source, most) not in self._stretches:
            # Of each window, so that a band has about as many rows of windows as it should.
            rows = max(1, source * height // self.geometry.padded[0])
            self._stretches[source, most] = [
                (part.rows, self._rows_of(source, part))
                for part in stretches(axis_weights(height, self.size[0]), height, max(1, most * height // rows))
            ]
        for rows, found in self._stretches[source, most]:
            yield Band(self._joined(planes, found), rows, (found.axis, axis_weights(self.size[1], self.size[1])))

    def averaged(self, planes: Sequence[np.ndarray], top: int, bottom: int) -> np.ndarray:
        """Return rows [top, bottom) of the average of all windows: float32 (P, bottom - top, width of the target).

        Parameters
        ----------
        planes : (P, h, w) of each window, over its whole input
        """
        identity = axis_weights(bottom - top, bottom - top)
        rows = self._rows_of(planes[0].shape[1], Stretch(slice(top, bottom), top, bottom, identity))
        return resampled(self._joined(planes, rows), (rows.axis, axis_weights(self.size[1], self.size[1])))

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
            at = np.array([start - top, 0, end - start, 0])
            join_columns(planes, start - first, base, weights, is_shift, out, at)
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
        """Return the windows that reach into a row by their first rows, those of one from left to right."""
        found: dict[int, list[int]] = {}
        for w in self._active(y):
            found.setdefault(self.boxes[w][0], []).append(w)
        return {top: sorted(beside, key=lambda w: self.boxes[w][1]) for top, beside in found.items()}

    def _rows_of(self, source: int, part: Stretch) -> Rows:
        """Return how some rows of the target come from those of the windows' planes, which have `source` each."""
        first, weight = axis_weights(source, self.geometry.padded[0])
        pieces = []
        for start, end in self._runs(part.top, part.bottom):
            for beside in self._tops(start).values():
                top = self.boxes[beside[0]][0]
                at, share = first[start - top : end - top], weight[start - top : end - top]
                rows, below = slice(start - part.top, end - part.top), min(int(at[-1]) + 2, source)
                pieces.append(Piece(beside, self._active(start), int(at[0]), below, rows, (at - at[0], share)))
        return joined_rows(pieces, part.axis)

    def _joined(self, planes: Sequence[np.ndarray], rows: Rows) -> np.ndarray:
        """Return the rows that rows of the target lie between, at the width of the target: float32 (P, n, W)."""
        out, start = np.empty((len(planes[0]), rows.height, self.size[1]), np.float32), 0
        for piece in rows.pieces:
            written, height = 0, piece.bottom - piece.top
            for w in piece.windows:
                base, weights, is_shift, left = self._columns(w, piece.active, planes[w].shape[2], is_cut=False)
                out[:, start : start + height, written:left] = 0
                at = np.array([start, left, height, written])
                join_columns(planes[w], piece.top, base, weights, is_shift, out, at)
                written = max(written, left + base.size)
            out[:, start : start + height, written:] = 0
            start += height
        if rows.places.size:
            mix_rows(out, rows.sources, rows.weights, rows.places)
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

    def _columns(self, w: int, active: tuple[int, ...], width: int, is_cut: bool) -> Columns:
        key = w, active, width, is_cut
        if key not in self._known:
            self._known[key] = self._make_columns(w, active, width, is_cut)
        return self._known[key]

    def _make_columns(self, w: int, active: tuple[int, ...], width: int, is_cut: bool) -> Columns:
        """Join three maps of columns: from a window's planes to the window, to the picture, to the target."""
        _, left, _, right = self.boxes[w]
        first, later = axis_weights(width, width if is_cut else self.geometry.padded[1])
        first, later = first[: right - left], later[: right - left]
        share = np.zeros(self.geometry.resized[1])
        share[left:right] = 1 / self._cover(active)[left:right]
        # Columns of the picture beside the window count as its last ones, with a share of 0.
        at = np.clip(np.arange(share.size) - left, 0, right - left - 1)
        of_picture = first[at], later[at]
        base, weights = composed(*axis_weights(share.size, self.size[1]), of_picture, share)
        used = np.flatnonzero((weights > 0).any(axis=0))
        within = slice(used[0], used[-1] + 1)
        base, weights = base[within], np.ascontiguousarray(weights[:, within])
        return Columns(base.astype(np.uint32), weights, bool((np.diff(base) == 1).all()), int(used[0]))


def bands_to(geometry: Geometry | None, size: Size) -> Callable[[Sequence[np.ndarray]], Iterator[Band]]:
    """Return what gives the bands of an image's planes at the evaluation size, again and again.

    Parameters
    ----------
    geometry : of the image; None where the planes cover it once, without padding
    size : height and width at which the image is evaluated

    Returns
    -------
    to_bands : from planes (P, h, w) of each window, float32 or patterns of float16, over its whole input
    """
    if geometry is None or (len(geometry.windows) == 1 and geometry.padded == geometry.resized):
        return lambda planes: iter([Band(planes[0], slice(0, size[0]), axes(planes[0].shape[1:], size))])
    if len(geometry.windows) == 1 and geometry.resized == size and geometry.windows[0][:2] == (0, 0):
        return partial(_cut_off, geometry.padded, size)
    return Canvas(geometry, size).bands


def _cut_off(padded: Size, size: Size, planes: Sequence[np.ndarray]) -> Iterator[Band]:
    """Yield the one band of planes with nothing but padding to cut off: there is one step of resampling here too."""
    whole = axes(planes[0].shape[1:], padded)
    cut = [(first[:n], weight[:n]) for (first, weight), n in zip(whole, size, strict=True)]
    yield Band(planes[0], slice(0, size[0]), (cut[0], cut[1]))


def bands_of(planes: Sequence[np.ndarray], geometry: Geometry | None, size: Size) -> Iterator[Band]:
    """Yield the bands of an image's planes at the evaluation size, see `bands_to`."""
    return bands_to(geometry, size)(planes)

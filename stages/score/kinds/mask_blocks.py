"""The blocks in which a mask network's image is scored: as a whole, or some rows of the picture at a time.

Where the sigmoid is taken at the mask logits' own size, M is small and stands whole. Where it is taken at the size of
a window or of the picture, as EoMT's authors do, the mask logits of some rows are resampled first, once for all
temperatures; M of a whole image would be gigabytes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.queries import mix
from logitpipe.stages.score.kernels.resampling import Axis, axis_weights
from logitpipe.stages.score.kinds.bands import Band, Size, Stretch, axes, resampled, stretches
from logitpipe.stages.score.kinds.canvas import Canvas
from logitpipe.stages.score.kinds.queries import Queries, Window, mixed, queries_of, quotient

BLOCK_BYTES = 16 << 20
"""What M of the rows of one block should take, about: fewer pixels are counted more slowly."""

LEAST_ROWS = 4
"""Of a block: each resamples the last row of the block before once more."""

WindowPlanes = Sequence[np.ndarray]
"""Planes of a block, of each of its windows or of all of them joined: float32 (P, n)."""


@dataclass(frozen=True)
class Block:
    """A part of an image whose planes are mixed at once, for several temperatures.

    Parameters
    ----------
    queries : of the windows that reach into it
    to_bands : from planes (P, h, w) of each of these windows to the bands of the evaluation size
    """

    queries: Sequence[Queries]
    to_bands: Callable[[Sequence[np.ndarray]], Iterator[Band]]

    @property
    def pixels(self) -> int:
        """How many pixels a plane of `mix` has, those of all windows."""
        return sum(each.claimed.size for each in self.queries)

    def bands(self, planes: WindowPlanes) -> Iterator[Band]:
        """Yield the bands of planes of each window that were computed where M is."""
        return self.to_bands([each.reshape(-1, *of.size) for each, of in zip(planes, self.queries, strict=True)])

    def mix(self, matrices: Sequence[np.ndarray]) -> WindowPlanes:
        """Return the planes that matrices, float32 (P, Q) of each window, mix of M; they are for `mixed_bands`."""
        return mixed(matrices, self.queries)

    def unjoined(self, planes: WindowPlanes, _matrices: Sequence[np.ndarray]) -> WindowPlanes:
        """Return planes of `mix` as they are where M is, for `bands`."""
        return planes

    def divide(self, planes: WindowPlanes, _matrices: Sequence[np.ndarray], chosen: slice) -> None:
        """Divide some planes of `mix` by the sum over queries of M, where M is; where that is 0, they become 1."""
        for each, queries in zip(planes, self.queries, strict=True):
            each[chosen] = quotient(each[chosen], queries.claimed)

    def mixed_bands(self, planes: WindowPlanes) -> Iterator[Band]:
        """Yield the bands of planes of `mix`."""
        return self.bands(planes)


@dataclass(frozen=True)
class JoinedBlock:
    """Some rows of a picture that was cut into windows, see `Block`.

    S is linear in M. So M of all windows is joined here, and brought to the evaluation size where that is smaller:
    once, and not once for each temperature.

    Parameters
    ----------
    queries : of the windows that reach into it
    windows : their indices
    canvas : the picture, at the size where M is joined
    part : rows of the evaluation size, and those of the picture that they are sampled from
    size : height and width of the evaluation
    """

    queries: Sequence[Queries]
    windows: Sequence[int]
    canvas: Canvas
    part: Stretch
    size: Size

    @property
    def pixels(self) -> int:
        """See `Block`."""
        return self._rows * self.canvas.size[1]

    def bands(self, planes: WindowPlanes) -> Iterator[Band]:
        """See `Block`."""
        values = np.empty((len(planes[0]), self._rows, self.canvas.size[1]), np.float32)
        self._join(planes, values)
        yield self._band(values)

    def mix(self, matrices: Sequence[np.ndarray]) -> WindowPlanes:
        """See `Block`: the planes of all windows joined, one array."""
        out = np.empty((len(matrices[0]), self._rows, self.canvas.size[1]), np.float32)
        for left, inside, M in self._pieces:
            mix(np.concatenate([matrices[i] for i in inside], axis=1), M, out, left)
        return [out.reshape(len(out), -1)]

    def unjoined(self, _planes: WindowPlanes, matrices: Sequence[np.ndarray]) -> WindowPlanes:
        """See `Block`."""
        return mixed(matrices, self.queries)

    def divide(self, planes: WindowPlanes, matrices: Sequence[np.ndarray], chosen: slice) -> None:
        """See `Block`: a quotient is not linear in M, so that it is taken in each window before they are joined."""
        found = mixed([np.ascontiguousarray(matrix[chosen]) for matrix in matrices], self.queries)
        quotients = [quotient(each, queries.claimed) for each, queries in zip(found, self.queries, strict=True)]
        self._join(quotients, planes[0].reshape(-1, self._rows, self.canvas.size[1])[chosen])

    def mixed_bands(self, planes: WindowPlanes) -> Iterator[Band]:
        """See `Block`."""
        yield self._band(planes[0].reshape(-1, self._rows, self.canvas.size[1]))

    @property
    def _shrinks(self) -> bool:
        return self.canvas.size == self.size

    @property
    def _rows(self) -> int:
        return self.part.axis[0].size if self._shrinks else self.part.bottom - self.part.top

    def _band(self, values: np.ndarray) -> Band:
        width = self.canvas.size[1]
        as_they_are = axis_weights(self._rows, self._rows), axis_weights(width, width)
        return Band(
            values,
            self.part.rows,
            as_they_are if self._shrinks else (self.part.axis, axis_weights(width, self.size[1])),
        )

    def _join(self, planes: WindowPlanes, out: np.ndarray) -> None:
        """Write the average of planes of each window: float32 (P, rows, columns)."""
        out[:] = 0
        for left, each in self._placed(planes):
            out[:, :, left : left + each.shape[2]] += each

    def _placed(self, planes: WindowPlanes) -> Iterator[tuple[int, np.ndarray]]:
        """Yield for each window the column where it begins, and its share of planes there: (P, rows, columns)."""
        for w, each, queries in zip(self.windows, planes, self.queries, strict=True):
            left, found = self.canvas.part(w, each.reshape(-1, *queries.size), self.part.top, self.part.bottom)
            if self._shrinks and (self._rows < found.shape[1] or self.part.axis[1].any()):
                found = resampled(found, (self.part.axis, axis_weights(found.shape[2], found.shape[2])))
            yield left, found

    @cached_property
    def _pieces(self) -> list[tuple[int, list[int], np.ndarray]]:
        """Columns that the same windows reach: the first, which windows, and M of all queries of these."""
        placed = list(self._placed([each.M for each in self.queries]))
        spans = [(left, left + M.shape[2]) for left, M in placed]
        pieces = []
        for left, right in pairwise(sorted({end for span in spans for end in span})):
            inside = [i for i, (low, high) in enumerate(spans) if low <= left and right <= high]
            cut = [placed[i][1][:, :, left - spans[i][0] : right - spans[i][0]] for i in inside]
            pieces.append((left, inside, np.ascontiguousarray(cut[0] if len(cut) == 1 else np.concatenate(cut))))
        return pieces


def blocks(
    windows: Sequence[Window], geometry: Geometry, sigmoid_at: SigmoidAt, size: Size, T_m: float = 1.0
) -> Iterator[Block | JoinedBlock]:
    """Divide an image into blocks whose M is computed at the size of a window or of the picture.

    Parameters
    ----------
    windows : of the image
    geometry : of the image
    sigmoid_at : "window" or "picture"
    size : height and width at which the image is evaluated
    T_m : what divides the mask logits

    Raises
    ------
    PipeError
        Mask logits of several windows cannot be brought to one picture.
    IntegrityError
        As for `Canvas`.
    """
    if sigmoid_at == "window":
        yield from _by_window(windows, geometry, size, T_m)
    elif len(windows) > 1:
        raise PipeError(
            f"the sigmoid of mask logits was to be taken at the size of the picture, and of {len(windows)} windows "
            "each has queries of its own",
            "sigmoid-at",
        )
    else:
        yield from _on_picture(windows[0], geometry, size, T_m)


def _by_window(windows: Sequence[Window], geometry: Geometry, size: Size, T_m: float) -> Iterator[JoinedBlock]:
    """Yield blocks of rows, M computed at the size of each window."""
    (height, width), queries = geometry.resized, len(windows[0].mask_logits)
    canvas = Canvas(geometry, size if size[0] * size[1] < height * width else geometry.resized)
    for part in stretches(axis_weights(height, size[0]), height, _block_rows(queries, width)):
        rows = [canvas.window_rows(w, part.top, part.bottom) for w in range(len(windows))]
        reaching = [w for w, each in enumerate(rows) if each.stop > each.start and canvas.window_width(w) > 0]
        of_window = [_of_window(windows[w], geometry, rows[w], canvas.window_width(w), T_m) for w in reaching]
        yield JoinedBlock(of_window, reaching, canvas, part, size)


def _block_rows(queries: int, width: int) -> int:
    return max(LEAST_ROWS, BLOCK_BYTES // (4 * queries * width))


def _of_window(window: Window, geometry: Geometry, rows: slice, width: int, T_m: float) -> Queries:
    """Return the queries of a window at its own size, some rows of what lies on the picture."""
    (first, weight), (column, share) = axes(window.mask_logits.shape[1:], geometry.padded)
    return queries_of(window, ((first[rows], weight[rows]), (column[:width], share[:width])), T_m)


def _on_picture(window: Window, geometry: Geometry, size: Size, T_m: float) -> Iterator[Block]:
    """Yield blocks of rows, M computed at the size of the picture: resampled to the input, cut, resampled again."""
    (height, width), queries = geometry.picture, len(window.mask_logits)
    canvas = Canvas(geometry, geometry.picture)
    first, weight = axis_weights(geometry.resized[0], height)
    columns = axis_weights(width, width)
    for part in stretches(axis_weights(height, size[0]), height, _block_rows(queries, width)):
        rows = slice(part.top, part.bottom)
        top, bottom = int(first[part.top]), min(int(first[part.bottom - 1]) + 2, geometry.resized[0])
        of_input = Window(canvas.averaged([window.mask_logits], top, bottom), window.class_logits)
        claimed = queries_of(of_input, ((first[rows] - top, weight[rows]), columns), T_m)
        yield Block([claimed], partial(_of_picture, part, (part.axis, axis_weights(width, size[1]))))


def _of_picture(part: Stretch, to: tuple[Axis, Axis], planes: Sequence[np.ndarray]) -> Iterator[Band]:
    """Yield the band of planes (P, rows, columns) of some rows of the picture."""
    yield Band(planes[0], part.rows, to)

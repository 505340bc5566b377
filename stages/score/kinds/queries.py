"""Queries of one image in the blocks in which they are scored: as a whole, or some rows of the picture at a time.

Where the sigmoid is taken at the mask logits' own size, M is small and stands whole. Where it is taken at the size of
a window or of the picture, as EoMT's authors do, the mask logits of some rows are resampled first, once for all
temperatures; M of a whole image would be gigabytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.arithmetic import sigmoid, widened
from logitpipe.stages.score.kernels.resampling import Axis, axis_weights, sample_band
from logitpipe.stages.score.kinds.canvas import Band, Canvas, Size, Stretch, axes, band_rows, stretches


@dataclass(frozen=True)
class Window:
    """What a mask network gives for one window of an image.

    Parameters
    ----------
    mask_logits : (Q, h, w), float32 or patterns of float16
    class_logits : float64 (Q, K + 1), the last one "no object"
    """

    mask_logits: np.ndarray
    class_logits: np.ndarray


@dataclass(frozen=True)
class Queries:
    """Queries of one window, in one block.

    Parameters
    ----------
    M : float32 (Q, n), sigmoid of the mask logits
    claimed : float32 (n,), sum over queries of M
    class_logits : float64 (Q, K + 1), the last one "no object"
    """

    M: np.ndarray
    claimed: np.ndarray
    class_logits: np.ndarray


@dataclass(frozen=True)
class Block:
    """A part of an image whose planes are mixed at once, for every temperature.

    Parameters
    ----------
    queries : of the windows that reach into it
    bands : from planes (P, n) of each of these windows to the bands of the evaluation size
    """

    queries: Sequence[Queries]
    bands: Callable[[Sequence[np.ndarray]], Iterator[Band]]


def is_whole(geometry: Geometry | None, sigmoid_at: SigmoidAt) -> bool:
    """Return whether M has a size of its own, at which it is computed as a whole."""
    return geometry is None or sigmoid_at == "masks" or isinstance(sigmoid_at, tuple)


def whole(
    windows: Sequence[Window], sigmoid_at: SigmoidAt, T_m: float = 1.0
) -> tuple[list[Queries], tuple[int, int]]:
    """Return the queries of an image whose M has a size of its own, and that size; T_m divides the mask logits."""
    height, width = sigmoid_at if isinstance(sigmoid_at, tuple) else windows[0].mask_logits.shape[1:]
    queries = [_claim(_at_size(each.mask_logits, (height, width)), each.class_logits, T_m) for each in windows]
    return queries, (height, width)


def blocks(
    windows: Sequence[Window], geometry: Geometry, sigmoid_at: SigmoidAt, size: Size, T_m: float = 1.0
) -> Iterator[Block]:
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


def _by_window(windows: Sequence[Window], geometry: Geometry, size: Size, T_m: float) -> Iterator[Block]:
    """Yield blocks of rows, M computed at the size of each window."""
    canvas, queries = Canvas(geometry, size), len(windows[0].mask_logits)
    for part in stretches(geometry.resized[0], size[0], band_rows(4 * queries * geometry.resized[1])):
        rows = [canvas.window_rows(w, part.top, part.bottom) for w in range(len(windows))]
        reaching = [w for w, each in enumerate(rows) if each.stop > each.start and canvas.window_width(w) > 0]
        of_window = {w: _window_logits(windows[w], geometry, rows[w], canvas.window_width(w)) for w in reaching}
        shapes = {w: logits.shape[1:] for w, logits in of_window.items()}
        yield Block(
            [_claim(logits, windows[w].class_logits, T_m) for w, logits in of_window.items()],
            partial(_of_windows, canvas, part, shapes),
        )


def _window_logits(window: Window, geometry: Geometry, rows: slice, width: int) -> np.ndarray:
    """Return mask logits at the size of a window, some rows of what lies on the picture: float32 (Q, rows, width)."""
    (first, weight), (column, share) = axes(window.mask_logits.shape[1:], geometry.padded)
    return _resampled(window.mask_logits, ((first[rows], weight[rows]), (column[:width], share[:width])))


def _of_windows(
    canvas: Canvas, part: Stretch, shapes: Mapping[int, tuple[int, ...]], planes: Sequence[np.ndarray]
) -> Iterator[Band]:
    """Yield the band of planes (P, n) of the windows in a block, `shapes` being those of their rows."""
    of_window = {w: each.reshape(-1, *shape) for (w, shape), each in zip(shapes.items(), planes, strict=True)}
    values = canvas.averaged(of_window, part.top, part.bottom, is_cut=True)
    yield Band(values, part.rows, (part.axis, axis_weights(values.shape[2], values.shape[2])))


def _on_picture(window: Window, geometry: Geometry, size: Size, T_m: float) -> Iterator[Block]:
    """Yield blocks of rows, M computed at the size of the picture: resampled to the input, cut, resampled again."""
    (height, width), queries = geometry.picture, len(window.mask_logits)
    canvas = Canvas(geometry, geometry.picture)
    first, weight = axis_weights(geometry.resized[0], height)
    columns = axis_weights(width, width)
    for part in stretches(height, size[0], band_rows(4 * queries * width)):
        rows = slice(part.top, part.bottom)
        top, bottom = int(first[part.top]), min(int(first[part.bottom - 1]) + 2, geometry.resized[0])
        of_input = canvas.averaged({0: window.mask_logits}, top, bottom)
        logits = _resampled(of_input, ((first[rows] - top, weight[rows]), columns))
        to = part.axis, axis_weights(width, size[1])
        yield Block([_claim(logits, window.class_logits, T_m)], partial(_of_picture, part, width, to))


def _of_picture(part: Stretch, width: int, to: tuple[Axis, Axis], planes: Sequence[np.ndarray]) -> Iterator[Band]:
    """Yield the band of planes (P, n) of some rows of the picture."""
    yield Band(planes[0].reshape(-1, part.bottom - part.top, width), part.rows, to)


def _at_size(logits: np.ndarray, size: Size) -> np.ndarray:
    """Return mask logits at another size, or as they are, in memory of their own: float32 (Q, h, w)."""
    return widened(logits) if logits.shape[1:] == size else _resampled(logits, axes(logits.shape[1:], size))


def _resampled(logits: np.ndarray, to: tuple[Axis, Axis]) -> np.ndarray:
    """Return all planes resampled along both axes, in memory of their own: float32 (Q, rows, columns)."""
    out = np.empty((len(logits), to[0][0].size, to[1][0].size), np.float32)
    sample_band(logits, np.arange(len(logits)), 0, to, out)
    return out


def _claim(logits: np.ndarray, class_logits: np.ndarray, T_m: float) -> Queries:
    """Return queries of mask logits, (Q, h, w) float32, which are overwritten."""
    M = logits.reshape(len(logits), -1)
    if T_m != 1:
        M /= np.float32(T_m)
    # What is not finite in the store is not finite here either, as resampling mixes neighbours.
    if damaged := sigmoid(M.reshape(-1)):
        raise not_finite(damaged)
    return Queries(M, M.sum(axis=0), class_logits)


def not_finite(count: int) -> IntegrityError:
    """Return the error for logits that are not finite."""
    return IntegrityError(f"finite logits were expected, {count} are NaN or infinite")

"""Queries of one window of an image: M, the sigmoid of their mask logits, and the planes that are mixed of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.queries import claim, mix
from logitpipe.stages.score.kernels.resampling import Axis
from logitpipe.stages.score.kinds.bands import Size, axes, not_finite


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
    size : rows and columns, n in all
    """

    M: np.ndarray
    claimed: np.ndarray
    class_logits: np.ndarray
    size: Size


def is_whole(geometry: Geometry | None, sigmoid_at: SigmoidAt) -> bool:
    """Return whether M has a size of its own, at which it is computed as a whole."""
    return geometry is None or sigmoid_at == "masks" or isinstance(sigmoid_at, tuple)


def whole(windows: Sequence[Window], sigmoid_at: SigmoidAt, T_m: float = 1.0) -> list[Queries]:
    """Return the queries of an image whose M has a size of its own; T_m divides the mask logits."""
    size = sigmoid_at if isinstance(sigmoid_at, tuple) else windows[0].mask_logits.shape[1:]
    return [queries_of(each, axes(each.mask_logits.shape[1:], size), T_m) for each in windows]


def queries_of(window: Window, to: tuple[Axis, Axis], T_m: float) -> Queries:
    """Return the queries of a window, their mask logits resampled."""
    size = to[0][0].size, to[1][0].size
    M, claimed = np.empty((len(window.mask_logits), *size), np.float32), np.empty(size, np.float32)
    # What is not finite in the store is not finite here either, as resampling mixes neighbours.
    if damaged := claim(window.mask_logits, to, np.float32(T_m), M, claimed):
        raise not_finite(damaged)
    return Queries(M.reshape(len(M), -1), claimed.reshape(-1), window.class_logits, size)


def mixed(matrices: Sequence[np.ndarray], queries: Sequence[Queries]) -> list[np.ndarray]:
    """Return matrices times M of each window: float32 (P, n)."""
    found = []
    for matrix, each in zip(matrices, queries, strict=True):
        out = np.empty((len(matrix), 1, each.M.shape[1]), np.float32)
        mix(matrix, each.M[:, None], out, 0)
        found.append(out[:, 0])
    return found


def quotient(planes: np.ndarray, claimed: np.ndarray) -> np.ndarray:
    """Return planes (P, n) divided by `claimed` (n,), and 1 where that is 0."""
    speaks = claimed > 0
    if speaks.all():
        return planes / claimed
    return np.where(speaks, planes / np.where(speaks, claimed, 1), np.float32(1))

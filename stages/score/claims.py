"""Which queries of a mask network claim a region of an image: why it is scored as it is."""

from dataclasses import dataclass

import numpy as np

from logitpipe.cache import PipeError, Store
from logitpipe.cache.format.geometry import Box, Geometry, Size
from logitpipe.stages.score.kernels.counting.bins import ANOMALY
from logitpipe.stages.score.kinds.planes import softmax
from logitpipe.stages.score.labels.ground_truth import GroundTruth

MOST_POINTS = 4096
"""Pixels of a region at which masks are read; of a larger one as many, evenly."""

TOP_CLASSES = 3
"""Classes that are named of each query."""


@dataclass(frozen=True)
class Claim:
    """A query, and how much of a region it claims.

    Parameters
    ----------
    window, query : its indices
    claim : mean of M_q = sigmoid of its mask logits over the region
    won : share of the region where no other query has a greater M_q max_k P_qk
    area : mean of M_q over the whole image
    none : P_q0, the share of "no object"
    classes : the known classes with the largest shares, and these, by falling share
    mask : float32 (h, w), M_q on the grid that was asked for, 0 outside its window
    """

    window: int
    query: int
    claim: float
    won: float
    area: float
    none: float
    classes: tuple[tuple[str, float], ...]
    mask: np.ndarray


def image_size(store: Store, image: int) -> Size:
    """Return the size that coordinates of regions refer to: that of the mask, or of the picture if it has none."""
    geometry = store.image(image)
    return geometry.labels if any(geometry.labels) else geometry.picture


def box_region(size: Size, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Return the pixels of a box, right and bottom included: bool (H, W); PipeError where it leaves the image."""
    height, width = size
    if not (0 <= left <= right < width and 0 <= top <= bottom < height):
        raise PipeError(
            f"a region lies within 0..{width - 1} and 0..{height - 1}; found {left}..{right} and {top}..{bottom}"
        )
    region = np.zeros(size, bool)
    region[top : bottom + 1, left : right + 1] = True
    return region


def anomalous_region(truth: GroundTruth, image: int) -> np.ndarray:
    """Return the anomalous pixels of an image, bool (H, W); PipeError where there are none."""
    labels = truth.labels(image)
    if labels is None or not (labels == ANOMALY).any():
        name = truth.store.schema.images[image]
        raise PipeError(f"image {name!r} shows no anomaly", "give-region")
    return labels == ANOMALY


def claims(store: Store, image: int, region: np.ndarray, T: float, grid: Size, most: int) -> list[Claim]:
    """Return the queries that claim most of a region, the strongest first.

    Parameters
    ----------
    store : of a mask network
    region : bool (H, W), at least one pixel
    T : temperature of the class logits
    grid : (h, w) of the masks that are returned
    most : how many queries are wanted

    Raises
    ------
    IncompleteError, IntegrityError
        The image is not in the store, or it is damaged.
    """
    record = store.record(image)
    geometry = store.image(image, record)
    # Points instead of maps: 200 queries at the size of a picture would be gigabytes.
    ys, xs = _some_points(region)
    # As fractions of the picture, which mean the same at every size that it was brought to.
    centres = (ys + 0.5) / region.shape[0], (xs + 0.5) / region.shape[1]
    steps = [(np.arange(n) + 0.5) / n for n in grid]
    found: list[Claim] = []
    for w, box in enumerate(geometry.windows):
        M = _sigmoid(store.read("mask_logits", image, record, w).astype(np.float32))
        P = softmax(store.read("class_logits", image, record, w).astype(np.float64) / T)
        (rows, inside_y), (columns, inside_x) = (
            _positions(points, axis, geometry, box) for axis, points in enumerate(centres)
        )
        inside = inside_y & inside_x
        # A window beside the region claims nothing of it.
        if not inside.any():
            continue
        at_points = _bilinear(M, rows[inside], columns[inside])
        # A query wins by what scoring sees of it: its mask times its surest class.
        best = P[:, _known(store)].max(axis=1)
        winners = (at_points * best[:, None]).argmax(axis=0)
        # What lies outside of a window is claimed by none of its queries.
        claim = at_points.sum(axis=1) / ys.size
        (grid_y, in_y), (grid_x, in_x) = (
            _positions(points, axis, geometry, box) for axis, points in enumerate(steps)
        )
        # The strongest of each window: no more than so many can be among the strongest of all.
        for q in np.argsort(-claim, kind="stable")[:most].tolist():
            mask = _on_grid(M[q], grid_y, grid_x) * (in_y[:, None] & in_x)
            won = float((winners == q).sum() / ys.size)
            found.append(
                Claim(w, q, float(claim[q]), won, float(mask.mean()), float(P[q, -1]), _top(store, P[q]), mask)
            )
    return sorted(found, key=lambda each: -each.claim)[:most]


def _known(store: Store) -> list[int]:
    return [c for c in range(len(store.schema.classes)) if c != store.schema.unknown_class]


def _top(store: Store, shares: np.ndarray) -> tuple[tuple[str, float], ...]:
    order = sorted(_known(store), key=lambda c: -shares[c])[:TOP_CLASSES]
    return tuple((store.schema.classes[c], float(shares[c])) for c in order)


def _some_points(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = np.flatnonzero(region)
    step = max(1, -(-flat.size // MOST_POINTS))
    return np.divmod(flat[::step], region.shape[1])


def _positions(fractions: np.ndarray, axis: int, geometry: Geometry, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return where fractions of a picture's height or width lie on a window's masks, and which lie in the window."""
    on_picture = fractions * geometry.resized[axis]
    inside = (box[axis] <= on_picture) & (on_picture < box[axis + 2])
    # The masks span the window's input, of which a part may be padding.
    scale = geometry.logits[axis] / geometry.padded[axis]
    return np.clip((on_picture - box[axis]) * scale - 0.5, 0, geometry.logits[axis] - 1), inside


def _bilinear(planes: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Return planes (Q, h, w) at some points: float32 (Q, n)."""
    (top, bottom, v), (left, right, u) = _neighbours(ys, planes.shape[1]), _neighbours(xs, planes.shape[2])
    upper = planes[:, top, left] * (1 - u) + planes[:, top, right] * u
    lower = planes[:, bottom, left] * (1 - u) + planes[:, bottom, right] * u
    return upper * (1 - v) + lower * v


def _on_grid(plane: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Return a plane (h, w) on a grid: float32 (len(ys), len(xs))."""
    (top, bottom, v), (left, right, u) = _neighbours(ys, plane.shape[0]), _neighbours(xs, plane.shape[1])
    rows = plane[top] * (1 - v[:, None]) + plane[bottom] * v[:, None]
    return rows[:, left] * (1 - u) + rows[:, right] * u


def _neighbours(positions: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    before = np.floor(positions).astype(np.intp)
    return before, np.minimum(before + 1, size - 1), (positions - before).astype(np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)

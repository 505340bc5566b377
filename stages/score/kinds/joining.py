"""How rows and columns of windows become those of a target: steps of resampling taken as one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.merging import LEAST_TAPS
from logitpipe.stages.score.kernels.resampling import Axis


class Columns(NamedTuple):
    """How the columns of a window become those of a target; see `merging.join_columns`."""

    base: np.ndarray
    weights: np.ndarray
    is_shift: bool
    left: int


class Piece(NamedTuple):
    """Rows of windows beside each other, whose columns are joined.

    Parameters
    ----------
    windows : which
    active : the windows that the average is over, others above or below among them
    top, bottom : the rows [top, bottom) of their planes
    rows : of the picture that they are a part of, counted from the first one that is needed
    axis : of these rows into those of the piece
    """

    windows: Sequence[int]
    active: tuple[int, ...]
    top: int
    bottom: int
    rows: slice
    axis: Axis


class Rows(NamedTuple):
    """How some rows of a target come from rows of windows.

    Parameters
    ----------
    pieces : one below the other
    sources, weights, places : what is mixed of their rows and lies behind them, see `merging.mix_rows`
    height : how many rows there are in all
    axis : of the target's rows into these
    """

    pieces: Sequence[Piece]
    sources: np.ndarray
    weights: np.ndarray
    places: np.ndarray
    height: int
    axis: Axis


def joined_rows(pieces: Sequence[Piece], axis: Axis) -> Rows:
    """Join two maps of rows: from the pieces to the picture, and on to a target.

    Most rows of a target lie between two neighbouring rows of a window, and are sampled from these. Others are mixed
    of more: where a row of the windows ends between two of the picture, and where windows lie above each other.

    Parameters
    ----------
    axis : of the target's rows into those of the picture, counted from the first one that is needed
    """
    count = sum(piece.bottom - piece.top for piece in pieces)
    of_picture, start = np.zeros((max(piece.rows.stop for piece in pieces), count)), 0
    for piece in pieces:
        (first, weight), y = piece.axis, np.arange(piece.rows.start, piece.rows.stop)
        of_picture[y, start + first] += 1 - weight.astype(np.float64)
        # Behind the last row there is none, and its weight is 0.
        of_picture[y, np.minimum(start + first + 1, count - 1)] += weight
        start += piece.bottom - piece.top
    first, weight = axis
    share = weight.astype(np.float64)[:, None]
    of_target = (1 - share) * of_picture[first] + share * of_picture[np.minimum(first + 1, len(of_picture) - 1)]
    used, every = of_target > 0, np.arange(len(of_target))
    lowest, highest = used.argmax(axis=1), count - 1 - used[:, ::-1].argmax(axis=1)
    is_between = (highest - lowest <= 1) & (np.abs(of_target.sum(axis=1) - 1) < 1e-3)
    mixed = np.flatnonzero(~is_between)
    places = _apart(lowest[mixed], count)
    sources = np.zeros((mixed.size, max(LEAST_TAPS, int(used.sum(axis=1).max()))), np.int64)
    for row, taken in zip(sources, used[mixed], strict=True):
        row[: taken.sum()] = np.flatnonzero(taken)
    weights = np.take_along_axis(of_target[mixed], sources, axis=1)
    # Of those that stand for none the weight is that of row 0.
    weights[np.arange(sources.shape[1]) >= used[mixed].sum(axis=1)[:, None]] = 0
    below = np.where(is_between & (highest > lowest), of_target[every, highest], 0)
    lowest[mixed] = places
    height = int(places[-1]) + 1 if mixed.size else count
    return Rows(pieces, sources, weights.astype(np.float32), places, height, (lowest, below.astype(np.float32)))


def _apart(lowest: np.ndarray, count: int) -> np.ndarray:
    """Return where mixed rows go behind `count` others, given the first row that each is mixed of: int64 (m,).

    A row and the one that is mixed of it are both even or both odd, so that the mixed one takes the place of that one
    in `resampling.hold_rows`, and not of the next, which is still needed.
    """
    places = []
    for row in lowest:
        count += (count - int(row)) % 2
        places.append(count)
        count += 1
    return np.array(places, np.int64)


def composed(first: np.ndarray, weight: np.ndarray, inner: Axis, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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

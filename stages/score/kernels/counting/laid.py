"""Scores into bins that are laid where figures need them.

The range of a score is cut into even cells, and each cell into a power of two of bins: many where the order of its
pixels decides about a figure, one where it does not. A cell is a range of float32 bit patterns, and so is a bin.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry, inlined, kernel
from logitpipe.stages.score.kernels.counting.bins import IGNORED, Bins
from logitpipe.stages.score.kernels.counting.counts import CARRY, Counts, any_filled
from logitpipe.stages.score.kernels.vectors import as_int

CELL_BITS = 8
"""Top mantissa bits that tell cells apart: a binary order of magnitude has 2**10 cells."""

KEY_BITS = 23 - CELL_BITS
"""Bits of a key within its cell. A cell has at most 2**KEY_BITS bins, which hold one float32 number each."""

SHIFT_BITS = 5
"""The low bits of an entry of the table: how many bits of a key to drop. The others are a cell's first bin."""

STRETCH = 1 << 12
"""Keys that are found before they are counted: they stay close to the processor."""

_LEAST = np.int32(-(1 << 31))
"""The pattern with the sign bit alone."""

MOST_BINS = (1 << 26) - 1
"""More bins do not fit an entry of the table, which also addresses what lies behind both classes."""


@dataclass(frozen=True)
class Laid:
    """Bins of different widths, in the order of the scores.

    Parameters
    ----------
    bins : the range that is divided, as `Bins`
    parts : uint8 (cells,), by rising score: a cell is divided into 2**parts bins, at most 2**KEY_BITS

    Raises
    ------
    ValueError
        There are more than MOST_BINS.
    """

    bins: Bins
    parts: np.ndarray

    def __post_init__(self) -> None:
        """Check how many there are, as kernels do not."""
        if self.count > MOST_BINS:
            raise ValueError(f"at most {MOST_BINS} bins were expected, {self.count} were found")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the fields alone: what follows from them is larger."""
        return Laid, (self.bins, self.parts)

    @cached_property
    def first(self) -> np.ndarray:
        """The first bin of each cell, and last the number of bins: int64 (cells + 1,)."""
        return np.concatenate([[0], np.cumsum(1 << self.parts.astype(np.int64))])

    @property
    def count(self) -> int:
        """Number of bins."""
        return int(self.first[-1])

    @cached_property
    def table(self) -> np.ndarray:
        """What the kernel looks up for each cell and, behind them, for what is ignored: uint32 (cells + 1,)."""
        first, drop = self.first.copy(), np.append(KEY_BITS - self.parts.astype(np.int64), KEY_BITS)
        first[-1] = 2 * self.count
        return (first << SHIFT_BITS | drop).astype(np.uint32)

    @cached_property
    def layout(self) -> np.ndarray:
        """`Bins.layout` of the range with a bin for each float32 number. The number of such a bin is a key."""
        return exact(self.bins).layout


def exact(bins: Bins) -> Bins:
    """Return the same range with a bin for each float32 number."""
    return Bins(23, bins.negative, bins.positive)


def cell_count(bins: Bins) -> int:
    """Return into how many cells a range is cut."""
    return ((exact(bins).count - 1) >> KEY_BITS) + 1


@entry
def spread(scores: Array, p: Array, n: Array, layout: Array, of_cells: Array) -> None:
    """Add up pixels by cells.

    Parameters
    ----------
    scores : float32 (m,)
    p, n : int64 (m,), anomalous and normal pixels of each
    layout : of `Laid`
    of_cells : float64 (2, cells), added to
    """
    for i in range(scores.size):
        cell = _key(as_int(scores[i]), layout[1], layout[3], layout[4]) >> KEY_BITS
        of_cells[0, cell] += p[i]
        of_cells[1, cell] += n[i]


@entry
def count_laid(scores: Array, labels: Array, layout: Array, table: Array, counts: Counts) -> None:
    """Add scores to a histogram of (2 * bins + 1,) places: normal bins, anomaly bins, one place for what is ignored.

    Parameters
    ----------
    scores : float32 (n,) or longer, ranks
    labels : uint8 (n,)
    layout, table : of `Laid`
    counts : added to
    """
    keys = np.empty(STRETCH, np.uint32)
    for start in range(0, labels.size, STRETCH):
        some = labels[start : start + STRETCH]
        _keys(scores[start:], some, layout, np.uint32((table.size - 1) << KEY_BITS), keys)
        _add(keys[: some.size], table, counts.low, counts.carries)


# Two loops: compilers make vectors of the first, and would not if it read a table as well as wrote an array.
@kernel
def _keys(scores: Array, labels: Array, layout: Array, ignored: np.uint32, keys: Array) -> None:
    """Write the key of each score with the sign bit set for anomalous pixels: uint32 (n,)."""
    low, below, above = layout[1], layout[3], layout[4]
    for i in range(labels.size):
        key = np.uint32(_key(as_int(scores[i]), low, below, above))
        marked = np.uint32(key | np.uint32(np.uint32(labels[i]) << np.uint32(31)))
        keys[i] = ignored if labels[i] >= IGNORED else marked


@inlined
def _key(pattern: np.int32, low: np.int32, below: np.int32, above: np.int32) -> np.int32:
    """Return the key of a float32 pattern, by the arithmetic of `bins.place`."""
    sign = np.int32(pattern >> np.int32(31))
    magnitude = max(np.int32(np.int32(pattern & np.int32(0x7FFFFFFF)) - low), np.int32(0))
    signed = np.int32(np.int32(magnitude ^ sign) - sign)
    return np.int32(min(max(signed, np.int32(-below)), above) + below)


@kernel
def _add(keys: Array, table: Array, low: Array, carries: Array) -> None:
    """Count keys in a histogram, as `counts.add` counts places."""
    bins = np.uint32(table[table.size - 1] >> np.uint32(SHIFT_BITS + 1))
    for key in keys:
        cell = table[np.uint32(key & np.uint32(0x7FFFFFFF)) >> np.uint32(KEY_BITS)]
        within = np.uint32(key & np.uint32((1 << KEY_BITS) - 1)) >> np.uint32(cell & np.uint32(31))
        at = (
            np.int64(cell >> np.uint32(SHIFT_BITS))
            + np.int64(within)
            + np.int64(key >> np.uint32(31)) * np.int64(bins)
        )
        low[at] += np.uint8(1)
        if low[at] == 0:
            low[at] = CARRY
            carries[at] += np.uint32(1)


@entry
def points(counts: Counts, table: Array, layout: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Return the filled bins by falling score, those without an anomalous pixel joined with such neighbours.

    Joining changes no figure, as no positive lies between them, and leaves far fewer. A cell's are its own. What lies
    above all anomalous pixels is not joined: a threshold there may be the best of a bad score.

    Parameters
    ----------
    counts : of (2 * bins + 1,)
    table, layout : of `Laid`

    Returns
    -------
    found, anomalous, normal : int64 (n,), the lowest bin of each point and its pixels
    tied : bool (n,), whether it is known to hold one score alone
    lows : float32 (n,), the least score of each bin; -inf for the outermost one
    """
    cells = table.size - 1
    bins = np.int64(table[cells] >> np.uint32(SHIFT_BITS + 1))
    found, anomalous, normal = np.empty((3, bins + 1), np.int64)  # memory that is not written to is none
    tied, lows, size, stop = np.empty(bins + 1, np.bool_), np.empty(bins + 1, np.float32), 0, bins
    begun = False
    below, last, patterns = np.int64(layout[3]), np.int64(layout[3]) + layout[4], lows.view(np.int32)
    for cell in range(cells - 1, -1, -1):
        start, drop = np.int64(table[cell] >> np.uint32(SHIFT_BITS)), np.int64(table[cell] & np.uint32(31))
        if any_filled(counts.low[start:stop]) or any_filled(counts.low[bins + start : bins + stop]):
            joins = False
            for i in range(stop - 1, start - 1, -1):
                n, p = np.int64(counts.low[i]), np.int64(counts.low[bins + i])
                if n == 0 and p == 0:
                    continue
                # Carries are looked at where there may be some: most of their memory was never touched.
                if n >= CARRY:
                    n += np.int64(CARRY) * counts.carries[i]
                if p >= CARRY:
                    p += np.int64(CARRY) * counts.carries[bins + i]
                if p == 0 and joins and begun:
                    size -= 1
                    n += normal[size]
                key = (cell << KEY_BITS) + ((i - start) << drop)
                found[size], anomalous[size], normal[size] = i, p, n
                # The outermost keys and that of zero stand for many numbers.
                tied[size] = p + n == 1 or (drop == 0 and p > 0 and key != 0 and key != below and key != last)
                # A negative number is the least of its bin where its magnitude is the greatest.
                offset = key - below
                patterns[size] = _LEAST if offset <= 0 else np.int32(0)
                patterns[size] |= np.int32(abs(offset) + layout[1])
                if key == 0:
                    lows[size] = -np.inf
                size += 1
                joins, begun = p == 0, bool(begun or p > 0)
        stop = start
    return found[:size], anomalous[:size], normal[:size], tied[:size], lows[:size]

"""Ranks of several methods over a whole image, as kernels write them band by band."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np


class Maps:
    """Maps of ranks that one kernel writes.

    Parameters
    ----------
    rows : index of a pair -> which row of the kernel is its
    count : rows of the kernel
    size : height and width of the image

    Attributes
    ----------
    wanted : bool (count,), which rows the kernel is to write
    """

    def __init__(self, rows: Mapping[int, int], count: int, size: tuple[int, int]) -> None:
        self._row_of, self.wanted = rows, np.isin(np.arange(count), list(rows.values()))
        self._maps = np.empty((count, *size), np.float32)

    @contextmanager
    def rows(self, rows: slice) -> Iterator[np.ndarray]:
        """Lend the array that a kernel writes some rows of the image to: float32 (count, rows, W)."""
        count, height, width = self._maps.shape
        if rows.stop - rows.start == height:
            yield self._maps
            return
        # Some rows of each map do not lie in one piece, as kernels want them.
        band = np.empty((count, rows.stop - rows.start, width), np.float32)
        yield band
        self._maps[self.wanted, rows] = band[self.wanted]

    def each(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of pair, float32 (H, W) ranks)."""
        yield from ((i, self._maps[row]) for i, row in self._row_of.items())

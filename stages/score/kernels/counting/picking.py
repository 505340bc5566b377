"""Choice of the pixels that are scored: blocks of neighbours in a row, of which at least one counts.

Benchmarks ignore pixels; some ignore most of a picture, namely all that is not road. A block of LANES neighbours is
skipped if none of its pixels counts, and the remaining blocks are stored side by side.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, kernel
from logitpipe.stages.score.kernels.counting.bins import IGNORED
from logitpipe.stages.score.kernels.vectors import LANES, apart


class Picked(NamedTuple):
    """The blocks of a row that are scored, m of them.

    Parameters
    ----------
    starts : int64 (m,), where each begins in the row
    labels : uint8 (m * LANES,), of their pixels, side by side; IGNORED where the last reaches past the row
    """

    starts: Array
    labels: Array


def make_picked(width: int) -> Picked:
    """Return room for all blocks of a row."""
    n = apart(width)
    return Picked(np.empty(n // LANES, np.int64), np.empty(n, np.uint8))


@kernel
def pick(labels: Array, room: Picked) -> Picked:
    """Return the blocks of a row, uint8 (width,) labels, of which a pixel counts; they are written into `room`."""
    m = 0
    for start in range(0, labels.size, LANES):
        least = np.uint8(IGNORED)
        for i in range(LANES):
            label = labels[start + i] if start + i < labels.size else np.uint8(IGNORED)
            room.labels[m * LANES + i] = label
            least = min(least, label)
        room.starts[m] = start
        m += int(least < IGNORED)  # else the next block is written over this one
    return Picked(room.starts[:m], room.labels[: m * LANES])

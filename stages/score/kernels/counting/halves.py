"""How often each float16 number occurs among scores: there are so few that they can all be counted."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import ROUND
from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.vectors import as_float, as_int

LARGEST = np.int32(0x7BFF)
"""The pattern of 65504, the largest number that is not infinite."""
ZERO = 1 << 15
LEAST_NORMAL = np.int32(0x38800000)
"""The pattern of 2**-14 as float32: below it float16 has fewer digits."""


@entry
def count_halves(scores: Array, labels: Array, counts: Array) -> None:
    """Count float32 scores as float16 has them: rounded to nearest, ties to even, and to 65504 beyond it.

    Parameters
    ----------
    scores : float32 (n,)
    labels : uint8 (n,), the row of `counts` to add to; others do not count
    counts : int64 (rows, 2**16), added to; numbers rise from left to right, and zero, of either sign, is at ZERO
    """
    for i in range(scores.size):
        if labels[i] < counts.shape[0]:
            bits = as_int(scores[i])
            magnitude = bits & np.int32(0x7FFFFFFF)
            if magnitude >= LEAST_NORMAL:
                # Half of the last place, a little less where that is even; the carry moves on to the exponent.
                rounded = magnitude + np.int32(0xFFF) + ((magnitude >> np.int32(13)) & np.int32(1))
                pattern = min((rounded - np.int32(112 << 23)) >> np.int32(13), LARGEST)
            else:
                # Here float16 is a multiple of 2**-24; adding ROUND rounds to one, ties to even as processors do.
                pattern = as_int(as_float(magnitude) * np.float32(1 << 24) + ROUND) - as_int(ROUND)
            counts[labels[i], ZERO - pattern if bits < 0 else ZERO + pattern] += 1


def half_values(places: Array) -> Array:
    """Return the numbers that lie at these places of `counts`: float16 (n,)."""
    magnitudes = np.abs(places - ZERO).astype(np.uint16).view(np.float16)
    return np.where(places < ZERO, -magnitudes, magnitudes)

"""Class probabilities of one image, row by row: counts and sums of what a network predicts beside what is there.

No map of all classes ever exists at the evaluation size. Sums are of integers, so that their order changes nothing.
"""

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.resampling import Axis, sample_row

BINS = 15
"""Bins of confidence that calibration errors are computed from (Guo et al. 2017)."""

NLL, BRIER = 0, 1
SUMS = 2
HITS, MEMBERS, CONFIDENCE = 0, 1, 2
"""Columns of the sums over pixels, and of the bins."""

NLL_UNIT, UNIT = 2.0**-20, 2.0**-24
"""What a pixel's NLL, and what its Brier score and its confidence, are rounded to before they are added."""

LOG2E = np.float32(np.log2(np.e))
LEAST = np.float32(2.0**-100)
"""For a share below this, `_log_share` computes the logarithm anew in float64: float32 is close to its end."""
LEAST_EXPONENT = np.float32(-126.0)
ROUND = np.float32(3 << 22)
"""Adding 1.5 * 2**23 and taking it away again rounds a small float to an integer."""


@entry
def count_logits(
    logits: Array,
    chosen: Array,
    groups: Array,
    temperatures: Array,
    axes: tuple[Axis, Axis],
    labels: Array,
    confusion: Array,
    sums: Array,
    bins: Array,
) -> None:
    """Count one image of a pixel network at every temperature: p = softmax(z / T), added up within each class.

    Parameters
    ----------
    logits : (C, h, w), float32 or patterns of float16, see `arithmetic.widen`
    chosen : int64 (P,), the channels that belong to a class
    groups : int64 (P,), the class of each
    temperatures : float64 (t,)
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    labels : uint8 (H, W), classes; what is none is not counted
    confusion : int64 (t, K, K), [label, prediction], added to
    sums : int64 (t, SUMS), NLL and Brier score in their units, added to
    bins : int64 (t, BINS, 3), hits, pixels and the sum of their confidence in its unit, added to
    """
    K, width = confusion.shape[1], labels.shape[1]
    held, stretched = np.full(2, -1), np.zeros((2, chosen.size, width + 16), np.float32)
    z, top, arg = np.zeros_like(stretched[0]), np.empty(width, np.float32), np.empty(width, np.int64)
    share, shares = np.empty(width, np.float32), np.empty((K, width), np.float32)
    is_one_each = np.unique(groups).size == groups.size
    for y in range(labels.shape[0]):
        # Labels from K on are no class: if the least is one of these, no pixel of the row counts.
        if labels[y].min() >= K:
            continue
        sample_row(logits, chosen, y, axes, held, stretched, z)
        _largest(z[:, :width], groups, top, arg)
        for t in range(temperatures.size):
            shares[:] = 0
            for c in range(chosen.size):
                _exponentials(z[c, :width], top, np.float32(1 / temperatures[t]) * LOG2E, share)
                of_class = shares[groups[c]]
                for x in range(width):
                    of_class[x] += share[x]
            # Where a class is a sum over several channels, temperature can change which sum is the largest.
            if not is_one_each:
                _largest(shares, np.arange(K), share, arg)
            for x in range(width):
                if labels[y, x] < K:
                    least = shares[labels[y, x], x]
                    log = (
                        np.log(least)
                        if least > LEAST
                        else _log_share(z, groups, labels[y, x], x, top[x], temperatures[t])
                    )
                    _add(shares[:, x], labels[y, x], arg[x], log, confusion[t], sums[t], bins[t])


@entry
def count_scores(
    scores: Array,
    chosen: Array,
    groups: Array,
    axes: tuple[Axis, Axis],
    labels: Array,
    confusion: Array,
    sums: Array,
    bins: Array,
) -> None:
    """Count one image of a mask network at one temperature: p = S / sum S, added up within each class.

    Where no query speaks all classes are equal. A share below 2**-126 counts as that: NLL stays finite.

    Parameters
    ----------
    scores : float32 (P, h, w), S of each class, at least 0
    confusion, sums, bins : as in `count_logits` for one temperature
    """
    K, width = confusion.shape[0], labels.shape[1]
    held, stretched = np.full(2, -1), np.zeros((2, chosen.size, width + 16), np.float32)
    S, shares = np.zeros_like(stretched[0]), np.empty((K, width), np.float32)
    top, arg = np.empty(width, np.float32), np.empty(width, np.int64)
    for y in range(labels.shape[0]):
        if labels[y].min() >= K:
            continue
        sample_row(scores, chosen, y, axes, held, stretched, S)
        shares[:] = 0
        for c in range(chosen.size):
            shares[groups[c]] += S[c, :width]
        _largest(shares, np.arange(K), top, arg)
        for x in range(width):
            if labels[y, x] < K:
                if top[x] <= 0:
                    shares[:, x] = 1
                log = np.log(max(shares[labels[y, x], x], np.float32(2.0**-126)))
                _add(shares[:, x], labels[y, x], arg[x], log, confusion, sums, bins)


@entry
def predict_logits(logits: Array, chosen: Array, groups: Array, axes: tuple[Axis, Axis], out: Array) -> None:
    """Write the class of the largest of all chosen planes: uint8 (H, W); parameters as in `count_logits`."""
    width = out.shape[1]
    held, stretched = np.full(2, -1), np.zeros((2, chosen.size, width + 16), np.float32)
    z, top, arg = np.zeros_like(stretched[0]), np.empty(width, np.float32), np.empty(width, np.int64)
    for y in range(out.shape[0]):
        sample_row(logits, chosen, y, axes, held, stretched, z)
        _largest(z[:, :width], groups, top, arg)
        out[y] = arg


@kernel
def _largest(values: Array, names: Array, top: Array, arg: Array) -> None:
    """Write the largest of some planes, and its name, the first of equals: (P, n) and (P,) to (n,)."""
    top[:] = values[0]
    arg[:] = names[0]
    for p in range(1, values.shape[0]):
        for x in range(top.size):
            if values[p, x] > top[x]:
                top[x], arg[x] = values[p, x], names[p]


@kernel
def _exponentials(z: Array, top: Array, scale: np.float32, out: Array) -> None:
    """Write 2**((z - top) scale), at least 2**-126, with a relative error below 2e-7: float32 (n,).

    The fraction goes through a polynomial of degree 6, the integer into the exponent's bits.
    """
    bits, whole = out.view(np.int32), np.empty(out.size, np.float32)
    for x in range(out.size):
        y = max((z[x] - top[x]) * scale, LEAST_EXPONENT)
        whole[x] = (y + ROUND) - ROUND
        f = y - whole[x]
        p = np.float32(1.533758102e-4) * f + np.float32(1.339986514e-3)
        p = p * f + np.float32(9.618519562e-3)
        p = p * f + np.float32(5.550328986e-2)
        p = p * f + np.float32(2.402264661e-1)
        p = p * f + np.float32(6.931472056e-1)
        out[x] = p * f + np.float32(1.0)
    for x in range(out.size):
        bits[x] += np.int32(whole[x]) << np.int32(23)


@kernel
def _log_share(z: Array, groups: Array, label: int, x: int, top: np.float32, T: float) -> float:
    """Return ln sum exp((z - top) / T) over the channels of one class, where float32 cannot hold the sum."""
    # In float64 and relative to the largest channel of the class, whose term is 1: the sum cannot vanish.
    largest = -np.inf
    for c in range(groups.size):
        if groups[c] == label:
            largest = max(largest, float(z[c, x]))
    total = 0.0
    for c in range(groups.size):
        if groups[c] == label:
            total += np.exp((float(z[c, x]) - largest) / T)
    return (largest - float(top)) / T + np.log(total)


@kernel
def _add(shares: Array, label: int, predicted: int, log: float, confusion: Array, sums: Array, bins: Array) -> None:
    """Count one pixel.

    Parameters
    ----------
    shares : float32 (K,), the probability of each class but for a factor
    label, predicted : classes
    log : logarithm of the label's share
    confusion, sums, bins : of one temperature, added to
    """
    total, squares = 0.0, 0.0
    for k in range(shares.size):
        total += shares[k]
        squares += float(shares[k]) * float(shares[k])
    confidence = shares[predicted] / total
    confusion[label, predicted] += 1
    sums[NLL] += np.int64(np.rint((np.log(total) - log) / NLL_UNIT))
    sums[BRIER] += np.int64(np.rint((squares / total**2 - 2 * shares[label] / total + 1) / UNIT))
    # A bin holds what is above its lower edge and up to its upper one; there is nothing at 0.
    place = min(max(int(np.ceil(confidence * BINS)) - 1, 0), BINS - 1)
    bins[place, HITS] += label == predicted
    bins[place, MEMBERS] += 1
    bins[place, CONFIDENCE] += np.int64(np.rint(confidence / UNIT))

"""Ranks of pixel networks, at one temperature after another.

With m1 >= m2 the two largest logits of a pixel and r = sum over k != argmax of exp((z_k - m1) / T), every score is
a function of r, of m1 and of u = sum over k of (m2 - z_k)/T exp((z_k - m2) / T), see `pixel_sums`.

Scores leave here as ranks: strictly increasing functions of the formulas (see `scales.py`), which is all that
AuPRC, FPR95 and AUROC see.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LN2, exp2, log1p, log2
from logitpipe.stages.score.kernels.compiled import Array, inlined, kernel
from logitpipe.stages.score.kernels.fused.pixel_rows import LOG1R, MEMBERS, ODDS, REST, SHRINK, Row
from logitpipe.stages.score.kernels.fused.pixel_sums import sum_exponentials
from logitpipe.stages.score.kernels.vectors import LANES, Floats, apart, greater, load, splat, store, where_greater

MSP, ENTROPY, ENERGY, VOID, MAXLOGIT = 0, 1, 2, 3, 4
"""Rows of the ranks; the last one depends on no temperature."""
ROWS = 5

LOGIT_OFFSET, ENTROPY_OFFSET = np.float32(8.0), np.float32(1.0)
"""Move ranks away from zero, so that bins are of even width around it instead of ever finer."""
SMALL = np.float32(2.0**-20)
ZERO, ONE = np.float32(0.0), np.float32(1.0)


def make_ranks(width: int) -> Array:
    """Return room for the ranks of a row: float32 (ROWS, n)."""
    return np.empty((ROWS, apart(width)), np.float32)


@inlined
def offset(value: Floats, by: np.float32) -> Floats:
    """Return a value moved away from zero."""
    return where_greater(ZERO, value, value - by, value + by)


class Step(NamedTuple):
    """One temperature of a row; of numbers alone, which cost nothing to hand on.

    Parameters
    ----------
    n : pixels, a multiple of LANES
    k : which of a family, see `pixel_sums`
    T, inverse_T : the temperature and 1 / T
    """

    n: int
    k: int
    T: np.float32
    inverse_T: np.float32  # noqa: N815 - T is the name of the temperature everywhere


# The loops below are short. In a long one each number waits for the one before, and a processor sees too few pixels
# ahead to do something else meanwhile. They take whole arrays and say where in them they are: a view of a part is
# counted by whoever holds it, and for a row of pixels that takes longer than some of these loops.
#
# `row` is a `pixel_rows.Row`, or has the same arrays; `ranks` is float32 (rows of the ranks, at least n), written in
# its row `score`.


@kernel
def rank_maxlogit(top: Array, n: int, ranks: Array, score: int) -> None:
    """Write the rank of `maxlogit` from m1: float32 (n,) or longer."""
    to = score * ranks.shape[1]
    for at in range(0, n, LANES):
        store(ranks, to + at, offset(ZERO - load(top, at), LOGIT_OFFSET))


@kernel
def rank_msp(row: Row, step: Step, log2_others: np.float32, ranks: Array, score: int) -> None:
    """Write the rank of `msp`, log2 r - log2 (K - 1)."""
    others, to = step.k * row.others.shape[1], score * ranks.shape[1]
    for at in range(0, step.n, LANES):
        value = log2(load(row.others, others + at)) - load(row.gap, at) * step.inverse_T
        store(ranks, to + at, value - log2_others)


@kernel
def weigh_others(row: Row, step: Step) -> None:
    """Write g = exp((m2 - m1) / T) and r = g * others."""
    others, width = step.k * row.others.shape[1], row.work.shape[1]
    for at in range(0, step.n, LANES):
        g = exp2(load(row.gap, at) * (ZERO - step.inverse_T))
        store(row.work, SHRINK * width + at, g)
        store(row.work, REST * width + at, load(row.others, others + at) * g)


@kernel
def take_logarithms(row: Row, step: Step) -> None:
    """Write ln(1 + r)."""
    width = row.work.shape[1]
    for at in range(0, step.n, LANES):
        store(row.work, LOG1R * width + at, log1p(load(row.work, REST * width + at)))


@kernel
def weigh_entropy(row: Row, step: Step, log_classes: np.float32) -> None:
    """Write the odds H / (ln C - H), or these over g where r is small; H is the entropy.

    H = ln(1 + r) + sum over k != argmax of p_k (m1 - z_k)/T: no term is negative, nothing cancels. Where r is small,
    H = g (others + spread), of which only the logarithm is sure to be representable. Numerator and denominator are
    taken times 1 + r, which leaves one division.
    """
    others, moments = step.k * row.others.shape[1], step.k * row.moments.shape[1]
    width, to_nats = row.work.shape[1], step.inverse_T * LN2
    for at in range(0, step.n, LANES):
        sum_others, r = load(row.others, others + at), load(row.work, REST * width + at)
        sum1 = r + ONE
        spread = (load(row.gap, at) * sum_others - load(row.moments, moments + at)) * to_nats
        entropy = load(row.work, LOG1R * width + at) * sum1 + load(row.work, SHRINK * width + at) * spread
        part = where_greater(SMALL, r, sum_others + spread, entropy)
        store(row.work, ODDS * width + at, part / greater(sum1 * log_classes - entropy, sum1 * SMALL))


@kernel
def rank_entropy(row: Row, step: Step, ranks: Array, score: int) -> None:
    """Write the rank of `entropy`, log2 H / (ln C - H), from the odds of `weigh_entropy` and r."""
    width, to = row.work.shape[1], score * ranks.shape[1]
    for at in range(0, step.n, LANES):
        scaled = load(row.gap, at) * step.inverse_T
        shrunk = where_greater(SMALL, load(row.work, REST * width + at), scaled, splat(ZERO))
        store(ranks, to + at, offset(log2(load(row.work, ODDS * width + at)) - shrunk, ENTROPY_OFFSET))


@kernel
def rank_energy(row: Row, step: Step, log_classes: np.float32, ranks: Array, score: int) -> None:
    """Write the rank of `energy` from m1 and ln(1 + r)."""
    width, to = row.work.shape[1], score * ranks.shape[1]
    for at in range(0, step.n, LANES):
        value = load(row.top, at) + (load(row.work, LOG1R * width + at) - log_classes) * step.T
        store(ranks, to + at, offset(ZERO - value, LOGIT_OFFSET))


@kernel
def rank_void(row: Row, step: Step, log2_classes: np.float32, ranks: Array, score: int) -> None:
    """Write the rank of `void` from (z_void - m1) log2 e and r."""
    width, to = row.work.shape[1], score * ranks.shape[1]
    for at in range(0, step.n, LANES):
        others = log2(load(row.work, REST * width + at) + ONE)
        store(ranks, to + at, load(row.void, at) * step.inverse_T - others + log2_classes)


@kernel
def sum_family(row: Row, n: int, lowest: np.float32, base: np.float32, members: Array, f: int, wanted: Array) -> None:
    """Write the sums of a row that a family needs, see `pixel_sums`.

    Parameters
    ----------
    row, n, lowest : of `prepare`, at least one block
    base : of `Families`
    members, f : of `Families`, and which of them
    wanted : bool (t, ROWS), which ranks at which temperature
    """
    asked, with_moments = (False, False, False), False
    for k in range(MEMBERS):
        t = members[f, k]
        if t >= 0 and (wanted[t, MSP] or wanted[t, ENTROPY] or wanted[t, ENERGY] or wanted[t, VOID]):
            asked = asked[0] or k == 0, asked[1] or k == 1, asked[2] or k == 2
            with_moments = with_moments or wanted[t, ENTROPY]
    if asked[0] or asked[1] or asked[2]:
        sum_exponentials(row, n, lowest, base, asked, with_moments)


@kernel
def temper(row: Row, step: Step, classes: int, wanted: Array, t: int, ranks: Array) -> None:
    """Write the ranks of some methods at one temperature; what none of them needs is not computed.

    Parameters
    ----------
    row : after `sum_family`
    classes : C
    wanted, t : bool (t, ROWS), which ranks, and which row of it; that of `void` needs a void plane, and that of
        `maxlogit` is not for this function
    """
    log2_classes, log2_others = log2(np.float32(classes)), log2(np.float32(classes - 1))
    log_classes = log2_classes * LN2
    if wanted[t, MSP]:
        rank_msp(row, step, log2_others, ranks, MSP)
    if wanted[t, ENTROPY] or wanted[t, ENERGY] or wanted[t, VOID]:
        weigh_others(row, step)
    if wanted[t, ENTROPY] or wanted[t, ENERGY]:
        take_logarithms(row, step)
    if wanted[t, ENTROPY]:
        weigh_entropy(row, step, log_classes)
        rank_entropy(row, step, ranks, ENTROPY)
    if wanted[t, ENERGY]:
        rank_energy(row, step, log_classes, ranks, ENERGY)
    if wanted[t, VOID]:
        rank_void(row, step, log2_classes, ranks, VOID)

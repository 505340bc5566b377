"""Between the scores as their formulas give them and the ranks that the kernels count.

Only the order of scores matters to AuPRC, FPR95 and AUROC, so a kernel may give any strictly increasing function
of a formula. It gives one that float32 and a fixed number of bins can carry. `1 - max softmax` ties at 0 for every
confident pixel and crowds together below 1 - 1/K at high temperatures; the logarithm of its odds does neither.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET, LOGIT_OFFSET

LEAST, MOST = float(np.finfo(np.float64).tiny), float(np.nextafter(1, 0))
"""Least and greatest share whose odds are neither 0 nor infinite in float64."""

Transform = Callable[[np.ndarray, float, int], np.ndarray]
"""(values, temperature, number of classes) -> values"""


@dataclass(frozen=True)
class Scale:
    """How the ranks of a score are made, undone and counted.

    Parameters
    ----------
    rank : formula value -> rank, float64, strictly increasing
    formula : rank -> formula value, its inverse up to float32
    bins : division of the ranks
    limit : number of classes -> greatest score, where scores gather near zero and near it; None where they do not
    """

    rank: Transform
    formula: Transform
    bins: Bins
    limit: Callable[[int], float] | None = None

    def on_axis(self, scores: np.ndarray, K: int) -> np.ndarray:
        """Plot axis: identity, or log-odds (base 2) for scores that pile up at their limits."""
        if self.limit is None:
            return np.asarray(scores, np.float64)
        return _log2(_odds(np.clip(np.asarray(scores) / self.limit(K), LEAST, MOST)))

    def from_axis(self, positions: np.ndarray, K: int) -> np.ndarray:
        """Inverse of `on_axis`: from positions on the plot axis back to scores."""
        return np.asarray(positions, np.float64) if self.limit is None else self.limit(K) * _share(positions)


def _log2(x: np.ndarray) -> np.ndarray:
    # log2 of 0 is meant: minus infinity is a rank, the least of all.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(np.clip(x, 0, None))


def _odds(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.clip(p, 0, 1) / (1 - np.clip(p, 0, 1))


def _share(log2_odds: np.ndarray) -> np.ndarray:
    """Return odds / (1 + odds)."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp2(-np.asarray(log2_odds, np.float64)))


def _offset(value: np.ndarray, by: np.float32) -> np.ndarray:
    return value + np.where(value >= 0, by, -by)


def _no_offset(rank: np.ndarray, by: np.float32) -> np.ndarray:
    # What lies between the two offsets is nothing that `_offset` gives; as an edge of a bin it counts as 0.
    return np.sign(rank) * np.maximum(np.abs(rank) - by, 0)


def shifted(pivot: Callable[[int], float], bins: Bins) -> Scale:
    """Return the scale that counts a score relative to `pivot(K)`, its value for a perfectly confident pixel.

    That is where scores gather, and floating point resolves best around zero.
    """
    return Scale(
        rank=lambda s, _T, K: np.asarray(s, np.float64) - pivot(K),
        formula=lambda rank, _T, K: np.asarray(rank, np.float64) + pivot(K),
        bins=bins,
    )


LEFT_BINS = Bins(14, negative=(-18, 24), positive=(-18, -17))
ENTROPY_BINS = Bins(14, negative=(0, 24), positive=(0, 5))
ODDS_BINS = Bins(14, negative=(-16, 24), positive=(-16, 24))
LOGIT_BINS = Bins(14, negative=(3, 17), positive=(3, 17))
SHIFTED_BINS = Bins(15, negative=(-20, 8), positive=(-20, 8))

PROBABILITY_LEFT = Scale(
    rank=lambda s, _T, K: _log2(_odds(s) / (K - 1)),
    formula=lambda rank, _T, K: _share(np.asarray(rank, np.float64) + np.log2(K - 1)),
    bins=LEFT_BINS,
    limit=lambda _K: 1.0,
)
"""1 - max p, counted as log2 of its odds over those of K equal classes: 0 where nothing is known, else negative."""

PROBABILITY = Scale(
    rank=lambda s, _T, K: _log2(_odds(s) * K),
    formula=lambda rank, _T, K: _share(np.asarray(rank, np.float64) - np.log2(K)),
    bins=ODDS_BINS,
    limit=lambda _K: 1.0,
)
"""The probability of one channel beside K others, counted as log2 of its odds over those of equal channels."""

ENTROPY = Scale(
    rank=lambda s, _T, K: _offset(_log2(_odds(np.asarray(s) / np.log(K))), ENTROPY_OFFSET),
    formula=lambda rank, _T, K: np.log(K) * _share(_no_offset(np.asarray(rank, np.float64), ENTROPY_OFFSET)),
    bins=ENTROPY_BINS,
    limit=lambda K: float(np.log(K)),
)
"""Entropy H, counted as log2 of H / (ln K - H), away from zero."""

LOGIT = Scale(
    rank=lambda s, _T, _K: _offset(np.asarray(s, np.float64), LOGIT_OFFSET),
    formula=lambda rank, _T, _K: _no_offset(np.asarray(rank, np.float64), LOGIT_OFFSET),
    bins=LOGIT_BINS,
)
"""A logit."""

FREE_ENERGY = Scale(
    rank=lambda s, T, K: _offset(np.asarray(s, np.float64) + T * np.log(K), LOGIT_OFFSET),
    formula=lambda rank, T, K: _no_offset(np.asarray(rank, np.float64), LOGIT_OFFSET) - T * np.log(K),
    bins=LOGIT_BINS,
)
"""-T logsumexp(z/T), counted as -T log mean exp(z/T): at high T its spread is small beside T log K."""

WIDE_BINS = Bins(14, negative=(0, 24), positive=(0, 24))
"""For ranks that an offset of 1 keeps away from zero."""


def below(limit: Callable[[int], float]) -> Scale:
    """Return the scale of a score from 0 to `limit(K)`, counted as log2 of s / (limit - s), away from zero."""
    return Scale(
        rank=lambda s, _T, K: _offset(_log2(_odds(np.asarray(s) / limit(K))), ENTROPY_OFFSET),
        formula=lambda rank, _T, K: limit(K) * _share(_no_offset(np.asarray(rank, np.float64), ENTROPY_OFFSET)),
        bins=WIDE_BINS,
        limit=limit,
    )


MOST_MARGIN = 60.0
"""log2 of the odds that a score of MINUS_MARGIN has where two classes are equally probable: ties stay ties."""

MINUS_MARGIN = Scale(
    rank=lambda s, _T, _K: _offset(
        np.minimum(_log2(_odds(1 + np.asarray(s, np.float64))), MOST_MARGIN), ENTROPY_OFFSET
    ),
    # -(1 - u) as the share of the opposite odds: 1 - u would cancel where two classes are nearly equal.
    formula=lambda rank, _T, _K: -_share(-_no_offset(np.asarray(rank, np.float64), ENTROPY_OFFSET)),
    bins=WIDE_BINS,
)
"""A score from -1 to 0, counted as log2 of the odds of u = 1 + s, away from zero."""

RELATIVE_BINS = Bins(14, negative=(-24, 12), positive=(-24, 4))


def relative(pivot: Callable[[int], float], bins: Bins = RELATIVE_BINS) -> Scale:
    """Return the scale of a positive score, counted as log2 of its ratio to `pivot(K)`, where scores gather."""
    return Scale(
        rank=lambda s, _T, K: _log2(np.asarray(s, np.float64) / pivot(K)),
        formula=lambda rank, _T, K: pivot(K) * np.exp2(np.asarray(rank, np.float64)),
        bins=bins,
    )


EVEN_PROBABILITY = Scale(
    rank=lambda s, _T, _K: _offset(_log2(_odds(s)), ENTROPY_OFFSET),
    formula=lambda rank, _T, _K: _share(_no_offset(np.asarray(rank, np.float64), ENTROPY_OFFSET)),
    bins=WIDE_BINS,
    limit=lambda _K: 1.0,
)
"""A probability, counted as log2 of its odds, away from zero."""

DIVERGENCE = shifted(lambda _K: 0, Bins(14, negative=(-20, -19), positive=(-20, 10)))
"""A divergence in nats: not negative, and at most that of a share that float64 can still hold."""

SOFT_ENERGY = Scale(
    rank=lambda s, T, K: np.asarray(s, np.float64) - sharp_energy(T, K),
    formula=lambda rank, T, K: np.asarray(rank, np.float64) + sharp_energy(T, K),
    bins=SHIFTED_BINS,
)
"""-T logsumexp(S/T), counted relative to its value for a perfectly confident pixel, S = (1, 0, ..., 0)."""


def sharp_energy(T: float, K: int) -> float:
    """Return -T logsumexp(S/T) of S = (1, 0, ..., 0), as 1/T may be too large for exp: float64."""
    return float(-1 - T * np.log1p((K - 1) * np.exp(-1 / T)))

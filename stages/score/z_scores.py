"""Means of the z-scores of methods: how far scores lie from those of images without anomalies (`pipe fit`)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from logitpipe.cache import PipeError
from logitpipe.stages.score.methods import Method
from logitpipe.stages.score.methods.method import TEMPERATURES, OfMethods
from logitpipe.stages.score.methods.names import parts_of
from logitpipe.stages.score.methods.own import OWN_SCALE
from logitpipe.stages.score.methods.scales import Scale

if TYPE_CHECKING:
    from logitpipe.stages.score.plan import Pair, Plan


def z_score(s: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Return (s - mean) / deviation."""
    return (s - mean) / deviation


def means_of_z_scores(names: Iterable[str], methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return those of some names that stand for means of z-scores of methods, where all of these are there."""
    parts = {name: [part for part, _ in parts_of(name)] for name in names}
    return {
        name: _mean_of_z_scores({part: methods[part] for part in of})
        for name, of in parts.items()
        if of and all(part in methods for part in of)
    }


def _mean_of_z_scores(parts: Mapping[str, Method]) -> Method:
    """Return the mean of the z-scores of some methods.

    Of one method it has the ranks of that method, so that AuPRC, FPR95 and AUROC are the same to the last digit. Of
    several the rank is the mean of s / deviation: what is left out is the same for all pixels, and small scores keep
    their digits.
    """
    temperatures = {T for part in parts.values() for T in part.temperatures}
    one = next(iter(parts.values()))
    of = f"s = {one.formula}" if len(parts) == 1 else f"s of each of {' and '.join(parts)}"
    return Method(
        f"{'' if len(parts) == 1 else 'mean of '}(s - mean) / deviation, {of}; mean and deviation of s by `pipe fit`",
        "textbook (standard score)",
        tuple(T for T in TEMPERATURES if T in temperatures),
        # Plan.rank and Plan.formula go by the parts, whose statistics depend on the temperature.
        Scale(lambda s, _T, _K: s, lambda rank, _T, _K: rank, (one.scale if len(parts) == 1 else OWN_SCALE).bins),
        OfMethods(),
        z_score,
        needs="statistics",
    )


def require_moments(plan: "Plan", parts: "Sequence[Pair]") -> None:
    """Raise a PipeError where the scores of some pairs have no z-scores under a plan."""
    assert plan.statistics is not None
    plan.statistics.require_protocol(plan.protocol)
    for part in parts:
        _, deviation = plan.statistics.score(part)
        if not deviation > 0:
            raise PipeError(f"all scores of {part.label} are alike where they were fitted: there are no z-scores")


def z_of_rank(plan: "Plan", parts: "Sequence[Pair]", ranks: np.ndarray) -> np.ndarray:
    """Return the ranks of a mean of z-scores as the formula gives it: float64."""
    if len(parts) > 1:
        return ranks - _left_out(plan, parts)
    return z_score(plan.formula(parts[0], ranks), *_moments(plan, parts[0]))


def rank_of_z(plan: "Plan", parts: "Sequence[Pair]", z: np.ndarray) -> np.ndarray:
    """Return the inverse of `z_of_rank`."""
    if len(parts) > 1:
        return z + _left_out(plan, parts)
    mean, deviation = _moments(plan, parts[0])
    return plan.rank(parts[0], z * deviation + mean)


def rank_of_parts(plan: "Plan", parts: "Sequence[Pair]", maps: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Return the ranks of a mean of z-scores from the ranks of its parts, by their index: float32."""
    if len(parts) == 1:
        ((_, ranks),) = maps
        return ranks
    total: np.ndarray | float = 0.0
    for i, ranks in maps:
        _, deviation = _moments(plan, parts[i])
        total = total + plan.formula(parts[i], ranks) / (deviation * len(parts))
    return np.asarray(total, np.float32)


def _left_out(plan: "Plan", parts: "Sequence[Pair]") -> float:
    """Return the mean of mean / deviation, which the ranks of several methods lack."""
    return float(np.mean([mean / deviation for mean, deviation in (_moments(plan, part) for part in parts)]))


def _moments(plan: "Plan", part: "Pair") -> tuple[float, float]:
    assert plan.statistics is not None
    return plan.statistics.score(part)

"""Counts into rows of figures, one for each store, method and temperature."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from logitpipe.cache.files.places import Place
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.plan import Plan


@dataclass(frozen=True)
class Row:
    """The figures of one method at one temperature on one store, fractions from 0 to 1.

    A figure that does not exist (no anomalous or no normal pixel) is None. `temperature` is None for a method
    that temperature does not change; `iou` has one entry for each threshold, in the unit of the formula.
    `parameters` are those of the method, such as `gamma=0.1`; `map_temperature` divides the class map of a mask
    network, `mask_temperature` its mask logits, and either is None for a method that has none.
    """

    store: str
    network: str
    kind: str
    dataset: str
    protocol: str
    method: str
    temperature: float | None
    auprc: float | None
    auprc_lower: float | None
    auprc_upper: float | None
    fpr95: float | None
    auroc: float | None
    best_f1: float | None
    best_f1_threshold: float | None
    iou: list[dict[str, float | None]]
    images: int
    pixels: int
    positives: int
    parameters: str = ""
    map_temperature: float | None = None
    mask_temperature: float | None = None


IDENTITY = (
    "store",
    "network",
    "kind",
    "dataset",
    "protocol",
    "method",
    "parameters",
    "temperature",
    "map_temperature",
    "mask_temperature",
)
"""The fields of a row that say what was scored, and how."""


def identity(row: Row) -> dict[str, Any]:
    """Return what was scored, and how, for other figures of the same scores."""
    return {name: getattr(row, name) for name in IDENTITY}


def make_row(
    store: Place, plan: Plan, pair: int, curve: Curve, above: np.ndarray, pixels: np.ndarray, images: int
) -> Row:
    """Return the figures of one pair.

    Parameters
    ----------
    store : path or URL of what was counted
    plan, pair : the index of the pair in the plan
    curve : its filled bins
    above : int64 (thresholds, 2), normal and anomalous pixels that reach each threshold of the plan
    pixels : int64 (2,), all normal and anomalous pixels
    images : number of images counted
    """
    schema, (N, P) = plan.schema, (int(n) for n in pixels)
    return Row(
        store=str(store),
        network=schema.network,
        kind=schema.kind,
        dataset=schema.dataset,
        protocol=plan.protocol.name,
        method=plan.pairs[pair].method,
        temperature=plan.pairs[pair].temperature,
        iou=[
            {"threshold": threshold, **metrics.iou(counts, pixels)}
            for threshold, counts in zip(plan.thresholds, above, strict=True)
        ],
        images=images,
        pixels=N + P,
        positives=P,
        **_of_curve(plan, pair, curve),
    )


def _of_curve(plan: Plan, pair: int, curve: Curve) -> dict[str, Any]:
    area, f1 = metrics.auprc(curve), metrics.best_f1(curve)
    figure, lower, upper = area or (None, None, None)
    return {
        "auprc": figure,
        "auprc_lower": lower,
        "auprc_upper": upper,
        "fpr95": metrics.fpr_at_95_tpr(curve, plan.protocol.fpr),
        "auroc": metrics.auroc(curve),
        "best_f1": f1[0] if f1 else None,
        "best_f1_threshold": _threshold(plan, pair, f1[1]) if f1 else None,
    }


def _threshold(plan: Plan, pair: int, bin_index: int) -> float | None:
    """Return the score at a bin's lower edge, in the unit that the pair is pooled in; None if it is not finite."""
    edge = plan.bins(plan.pairs[pair]).lower_edges(np.array([bin_index]))
    score = edge if plan.min_max(plan.pairs[pair].method) else plan.formula(plan.pairs[pair], edge)
    return float(score[0]) if np.isfinite(score[0]) else None

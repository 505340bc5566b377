"""Counts into rows of figures, one for each store, method and temperature."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from logitpipe.cache import Store
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.passes.tally import Tally, lost
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.streams import in_parallel

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """The figures of one method at one temperature on one store, fractions from 0 to 1.

    A figure that does not exist (no anomalous or no normal pixel) is None. `temperature` is None for a method
    that temperature does not change; `iou` has one entry for each threshold, in the unit of the formula.
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


def make_rows(store: Store, plan: Plan, tally: Tally, workers: int = 1) -> list[Row]:
    """Return the figures of a tally, in the order of the plan's pairs, computed by so many threads.

    Raises
    ------
    PipeError
        The histogram of a pair does not hold the pixels of all images.
    """

    def row(pair: int) -> Row:
        curve = tally.curve(plan, pair)
        if [curve.negatives, curve.positives] != tally.pixels.tolist():
            raise lost(store, tally.images)
        return Row(**_facts(store, plan, tally, pair), **_streamed(plan, pair, curve))

    return in_parallel(row, range(len(plan.pairs)), workers)


def _facts(store: Store, plan: Plan, tally: Tally, pair: int) -> dict[str, Any]:
    schema, (N, P) = store.schema, (int(n) for n in tally.pixels)
    return {
        "store": str(store.path),
        "network": schema.network,
        "kind": schema.kind,
        "dataset": schema.dataset,
        "protocol": plan.protocol.name,
        "method": plan.pairs[pair].method,
        "temperature": plan.pairs[pair].temperature,
        "iou": [
            {"threshold": threshold, **metrics.iou(above, tally.pixels)}
            for threshold, above in zip(plan.thresholds, tally.above[pair], strict=True)
        ],
        "images": tally.images,
        "pixels": N + P,
        "positives": P,
    }


def _streamed(plan: Plan, pair: int, curve: Curve) -> dict[str, Any]:
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

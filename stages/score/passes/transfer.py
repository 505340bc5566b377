"""Thresholds chosen on one data set and applied to another: what a figure at a threshold is worth in the field.

The best F1 of a data set is that of a threshold which its own labels chose. A user has no such labels; what can be
had is the threshold of another data set. Counting needs a second walk: the thresholds of a store are known once the
sweeps of all others are done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from logitpipe.cache import Store
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.figures.rows import Identity, Row, identity, pair_of
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.plan import Pair, Plan, with_pairs
from logitpipe.stages.score.statistics.reached import Reached
from logitpipe.stages.score.thresholds import limit_from

RULES = {"best-f1": "best_f1_threshold", "tpr95": "fpr95_threshold"}
"""How a threshold is chosen: that of the best F1, and the highest one with a TPR of 95 % -> its name in a row."""


@dataclass(frozen=True, kw_only=True)
class TransferRow(Identity):
    """Figures at a threshold that a data set has chosen, fractions from 0 to 1.

    Parameters
    ----------
    chosen_on, chosen_on_store : data set and store whose labels chose the threshold; perhaps those of the row itself
    rule : one of RULES
    threshold : in the unit that scores are pooled in; a score that reaches it is anomalous. None is below all scores
    f1, iou, mean_iou, fpr, tpr : F1, the IoU of anomalies and the mean of both classes' IoU, false and true positive
        rate
    images : how many images were counted
    """

    chosen_on: str
    chosen_on_store: str
    rule: str
    threshold: float | None
    f1: float
    iou: float | None
    mean_iou: float | None
    fpr: float
    tpr: float
    images: int


class ChosenThreshold(NamedTuple):
    """A threshold, the row that chose it, and the rule."""

    row: Row
    rule: str
    threshold: float | None


def chosen_thresholds(pair: Pair, sources: Sequence[Sequence[Row]]) -> list[ChosenThreshold]:
    """Return the thresholds that the rows of some stores choose for a pair; none of a store without figures of it."""
    found = [row for rows in sources for row in rows if pair_of(row) == pair and row.auprc is not None]
    return [ChosenThreshold(row, rule, getattr(row, name)) for row in found for rule, name in RULES.items()]


def transfer_rows(
    store: Store,
    plan: Plan,
    images: Sequence[int],
    rows: Sequence[Row],
    sources: Sequence[Sequence[Row]],
    workers: int,
    advance: Callable[[], None],
    walker: Walk = walk,
) -> list[TransferRow]:
    """Return the figures of every pair of a store at its own thresholds and at those of other stores.

    Parameters
    ----------
    images : indices of the images that `rows` were computed from
    rows : of the sweep, in the order of the plan's pairs
    sources : the rows of each store of the same network, this one among them
    workers : threads
    advance : called once for each image, in this thread
    walker : who does the walk

    Raises
    ------
    IntegrityError, PipeError
        As for `walk`.
    """
    by_pair = {pair: (row, chosen_thresholds(pair, sources)) for pair, row in zip(plan.pairs, rows, strict=True)}
    # Of a pair that no other store has, or without figures here, nothing is to be learned.
    kept = [pair for pair, (row, found) in by_pair.items() if row.auprc is not None and len(found) > len(RULES)]
    if not kept:
        return []
    part, most = with_pairs(plan, kept), max(len(by_pair[pair][1]) for pair in kept)
    # Pairs have thresholds of several numbers; what is added is reached by no score.
    thresholds = np.full((len(kept), most), np.inf, np.float32)
    for i, pair in enumerate(kept):
        found = by_pair[pair][1]
        thresholds[i, : len(found)] = [_least(limit_from(part, i, each.threshold)) for each in found]
    statistic, truth = Reached(part, thresholds), GroundTruth(store, plan.protocol, images)
    counts = statistic.finish(walker(truth, images, statistic, workers, advance))
    return [
        _row(by_pair[pair][0], chosen, above)
        for pair, of_pair in zip(kept, counts, strict=True)
        for chosen, above in zip(by_pair[pair][1], of_pair, strict=False)
    ]


def _least(limit: np.float32) -> np.float32:
    """Return the least rank above a limit: `count_above` counts what reaches a threshold."""
    return limit if np.isneginf(limit) else np.nextafter(limit, np.float32(np.inf))


def _row(row: Row, chosen: ChosenThreshold, above: np.ndarray) -> TransferRow:
    (FP, TP), N, P = (int(n) for n in above), row.pixels - row.positives, row.positives
    ious = metrics.iou(above, np.array([N, P]))
    return TransferRow(
        **identity(row),
        chosen_on=chosen.row.dataset,
        chosen_on_store=chosen.row.store,
        rule=chosen.rule,
        threshold=chosen.threshold,
        f1=2 * TP / (P + TP + FP),
        iou=ious["anomaly"],
        mean_iou=ious["mean"],
        fpr=FP / N,
        tpr=TP / P,
        images=row.images,
    )

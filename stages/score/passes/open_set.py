"""Open-set figures of every pair of a plan: TPR at FPR 5 %, and classes where high scores are called unknown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.cache import Store
from logitpipe.stages.score.figures.open_set import RULES, OpenSetFigures, OperatingPoints, operating_points
from logitpipe.stages.score.figures.rows import Identity, Row, identity
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, NORMAL
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.labels.spaces import NO_CLASS, LabelSpace
from logitpipe.stages.score.passes.closed_set import ClassTruth
from logitpipe.stages.score.passes.sweep import walks
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.plan import Pair, Plan
from logitpipe.stages.score.statistics.histograms import Histograms
from logitpipe.stages.score.statistics.open_set import OpenSet


@dataclass(frozen=True, kw_only=True)
class OpenSetRow(Identity):
    """The open-set figures of one method at one temperature and threshold on one store.

    Parameters
    ----------
    tpr_at_5_fpr : TPR at the first FPR >= 0.05, whatever the threshold
    rule : one of RULES
    threshold : in the unit that scores are pooled in; a score that reaches it is unknown. None is below all scores
    label_space : whose classes are known
    figures : None where the masks name no classes
    """

    tpr_at_5_fpr: float
    rule: str
    threshold: float | None
    label_space: str
    images: int
    figures: OpenSetFigures | None


class OpenTruth:
    """Known classes of the images of a store, and what is unknown (see `ground_truth.Truth`).

    Parameters
    ----------
    anomalies : which pixels are normal and anomalous under a protocol
    known : their classes
    unknown : label of an anomalous pixel
    """

    def __init__(self, anomalies: GroundTruth, known: ClassTruth, unknown: int) -> None:
        self.store, self.protocol = anomalies.store, anomalies.protocol
        self.anomalies, self.known, self.unknown = anomalies, known, unknown

    def labels(self, image: int) -> np.ndarray | None:
        """Return uint8 (H, W), NO_CLASS where a pixel does not count; None for an image that the protocol skips."""
        labels = self.anomalies.labels(image)
        classes = None if labels is None else self.known.labels(image)
        if labels is None or classes is None:
            return None
        found = np.where(labels == NORMAL, classes, NO_CLASS)
        return np.where(labels == ANOMALY, self.unknown, found).astype(np.uint8)


def open_set_readings(plan: Plan, codes: Mapping[str, int]) -> int:
    """Return how often `open_set_rows` reads each image."""
    return len(walks(plan)) + bool(codes)


def open_set_rows(
    store: Store,
    plan: Plan,
    space: LabelSpace,
    codes: Mapping[str, int],
    images: Sequence[int],
    rows: Sequence[Row],
    workers: int,
    advance: Callable[[], None],
    walker: Walk = walk,
) -> list[OpenSetRow]:
    """Return the figures of every pair and rule; nothing of a store without anomalous or without normal pixels.

    Parameters
    ----------
    codes : name of a class of the data set -> its code in the masks; empty where they name none
    images : indices of the images that `rows` were computed from
    rows : of the sweep, in the order of the plan's pairs
    workers : threads
    advance : called `open_set_readings` times for each image, in this thread
    walker : who does the walks

    Raises
    ------
    IntegrityError, PipeError
        As for `walk`.
    """
    truth = GroundTruth(store, plan.protocol, images)
    # Counted anew: the histograms of the sweep were given up when its figures had been found.
    by_pair: dict[Pair, OperatingPoints | None] = {}
    for part in walks(plan):
        tally = walker(truth, images, Histograms(store, part), workers, advance)
        by_pair |= {pair: operating_points(tally.curve(i)) for i, pair in enumerate(part.pairs)}
    points = [by_pair[pair] for pair in plan.pairs]
    # No finite score reaches infinity: where no threshold exists, nothing is called unknown.
    edges = [each.ranks if each else (np.float32(np.inf),) * len(RULES) for each in points]
    figures: Sequence[Sequence[OpenSetFigures | None]] = [[None] * len(RULES)] * len(plan.pairs)
    if codes:
        channels, groups = space.channels(store.schema)
        # A score that reaches the edge is unknown, but `OpenSet` compares strictly: hence the next float below.
        limits = np.nextafter(np.array(edges, np.float32), np.float32(-np.inf))
        of_classes = OpenSet(plan, limits, channels, groups, len(space.classes))
        known = ClassTruth(store, plan.protocol, space.table(codes))
        opened = OpenTruth(truth, known, len(space.classes))
        figures = of_classes.finish(walker(opened, images, of_classes, workers, advance))
    return [
        OpenSetRow(
            **identity(row),
            tpr_at_5_fpr=each.tpr_at_5_fpr,
            rule=rule,
            threshold=_threshold(plan, i, edge),
            label_space=space.name,
            images=row.images,
            figures=found,
        )
        for i, (row, each) in enumerate(zip(rows, points, strict=True))
        if each is not None
        for rule, edge, found in zip(RULES, edges[i], figures[i], strict=True)
    ]


def _threshold(plan: Plan, pair: int, edge: np.float32) -> float | None:
    if not np.isfinite(edge):
        return None
    is_unit = plan.pools_scores(plan.pairs[pair].method)
    return float(edge) if is_unit else float(plan.formula(plan.pairs[pair], np.array([edge]))[0])

"""The scores of one method at one temperature as a map, in the unit of the method's formula."""

from dataclasses import dataclass, replace

import numpy as np

from logitpipe.cache import Schema, Store, UsageError
from logitpipe.stages.score.ground_truth import GroundTruth
from logitpipe.stages.score.labels import resize_nearest
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import Protocol

DRAWN_PIXELS = 8 << 20
"""Of what is drawn in panels of a few hundred pixels: more would cost seconds and gigabytes that nobody sees."""


@dataclass(frozen=True)
class ScoreMap:
    """One image's ground truth and scores, both of one size: that of evaluation, or a smaller one for drawing.

    Parameters
    ----------
    labels : uint8 (H, W), NORMAL, ANOMALY or IGNORED
    scores : float64 (H, W), as the method's formula gives them; higher is more anomalous
    """

    labels: np.ndarray
    scores: np.ndarray


def plan_map(schema: Schema, protocol: Protocol, method: str, temperature: float) -> Plan:
    """Plan a single pair; a method without temperature leaves the temperature out.

    Raises
    ------
    UsageError
        The store cannot serve the method.
    """
    plan = make_plan(schema, protocol, None, [temperature])
    pairs = tuple(pair for pair in plan.pairs if pair.method == method)
    if not pairs:
        served = dict.fromkeys(pair.method for pair in plan.pairs)
        raise UsageError(
            f"{method!r} cannot be computed from the {schema.kind} store of {schema.network} "
            f"on {schema.dataset}; there are {', '.join(served)}",
            option="method",
        )
    return replace(plan, pairs=pairs)


def score_map(store: Store, plan: Plan, truth: GroundTruth, image: int, most: int | None = None) -> ScoreMap | None:
    """Score one image; None if the protocol skips it.

    The scores are the formula's also where the protocol goes on to bring them to 0..1.

    Parameters
    ----------
    plan : of `plan_map`
    truth : ground truth of the store under the plan's protocol
    image : index of the image
    most : pixels of the map; a larger picture is scored at a smaller size, of its proportions

    Raises
    ------
    IncompleteError
        The image is not in the store.
    IntegrityError
        It is damaged.
    PipeError
        Its mask holds a code that the protocol does not know.
    """
    picture = read_picture(store, truth, image)
    if picture is None:
        return None
    if most is not None and picture.labels.size > most:
        height, width = picture.labels.shape
        shrink = (most / picture.labels.size) ** 0.5
        size = max(1, int(shrink * height)), max(1, int(shrink * width))
        picture = replace(picture, labels=resize_nearest(picture.labels, size))
    return ScoreMap(picture.labels, picture.formula_map(plan, 0))

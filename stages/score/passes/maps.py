"""The scores of one method at one temperature as a map, in the unit of the method's formula."""

from dataclasses import dataclass, replace

import numpy as np

from logitpipe.cache import Schema, Store, UsageError
from logitpipe.stages.score.labels.codes import resize_nearest
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.methods.method import InDistribution
from logitpipe.stages.score.methods.names import asked
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


def plan_map(
    schema: Schema,
    protocol: Protocol,
    method: str,
    temperature: float,
    map_temperature: float = 1.0,
    mask_temperature: float = 1.0,
    statistics: InDistribution | None = None,
    fine: bool = False,
) -> Plan:
    """Plan a single pair; a temperature that the method does not have is left out.

    Parameters
    ----------
    method : as people type it, with its parameters, or FILE.py:FUNCTION
    temperature, map_temperature, mask_temperature : T, T_S and T_m
    statistics : of in-distribution data, for the methods that need them
    fine : see `make_plan`

    Raises
    ------
    UsageError
        There is no such method, or the store cannot serve it.
    """
    try:
        wanted, *others = asked([method])
    except UsageError as error:
        raise UsageError(error.about(None), option="method") from error
    # Beside the core, so that the error below can say what the store can serve.
    plan = make_plan(
        schema,
        protocol,
        [method, "core"],
        [temperature],
        map_temperatures=[map_temperature],
        mask_temperatures=[mask_temperature],
        statistics=statistics,
        fine=fine,
    )
    pairs = tuple(pair for pair in plan.pairs if (pair.method, pair.parameters) == (wanted.name, wanted.parameters))
    if not pairs or others:
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
        # By the labels' size alone: logits are resampled to whatever size these have.
        shrink = (most / picture.labels.size) ** 0.5
        size = max(1, int(shrink * height)), max(1, int(shrink * width))
        picture = replace(picture, labels=resize_nearest(picture.labels, size))
    return ScoreMap(picture.labels, picture.formula_map(plan, 0))

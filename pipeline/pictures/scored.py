"""One image as it is drawn: photograph, ground truth, and the scores of some methods in colours."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from logitpipe.cache.reading.store import Store
from logitpipe.pictures.panels import draw_figure, panel_size, photo_column, score_column, truth_column
from logitpipe.stages.score.ground_truth import DrawnTruth
from logitpipe.stages.score.passes.maps import ScoreMap
from logitpipe.stages.score.passes.spread import is_tiny
from logitpipe.stages.score.plan import Plan, make_plan

if TYPE_CHECKING:
    from logitpipe.stages.score.methods import Method
    from logitpipe.stages.score.methods.method import InDistribution
    from logitpipe.stages.score.protocols import Protocol

PERCENTILES = (1, 99)
"""Where the colours end: a few extreme pixels would leave no colours for the others."""


def plan_pairs(
    store: Store,
    protocol: "Protocol",
    methods: Sequence[str] | None,
    temperature: float,
    functions: "Mapping[str, Method]" = MappingProxyType({}),
    map_temperature: float = 1.0,
    mask_temperature: float = 1.0,
    statistics: "InDistribution | None" = None,
) -> Plan:
    """Plan methods at one temperature for drawing; raises as `make_plan`."""
    # Thinning is for counting: a drawing shows every pixel.
    drawn = replace(protocol, thin_above=None)
    wanted = None if methods is None else [*methods, *functions]
    return make_plan(
        store.schema,
        drawn,
        wanted,
        [temperature],
        (),
        functions,
        map_temperatures=[map_temperature],
        mask_temperatures=[mask_temperature],
        statistics=statistics,
        fine=is_tiny(store),
    )


def drawn_truth(store: Store, plan: Plan, images: Sequence[int]) -> DrawnTruth:
    """Return the ground truth of images as it is drawn."""
    return DrawnTruth(store, plan.protocol, images)


def colour_limits(scores: np.ndarray) -> tuple[float, float]:
    """Return the scores at which the colours of a map end, the lower one always less than the upper."""
    low, high = (float(limit) for limit in np.percentile(scores, PERCENTILES))
    # Most scores are one number, as where no query claims anything: the few others are what there is to see.
    if not low < high:
        low, high = float(scores.min()), float(scores.max())
    half = max(abs(low), 1.0) / 2
    return (low, high) if low < high else (low - half, low + half)


def draw_scored(store: Store, plan: Plan, image: int, scored: Sequence[ScoreMap]) -> Image.Image:
    """Return photograph, ground truth and scores side by side, the scores in the order of the plan's pairs."""
    schema, size = store.schema, panel_size(*scored[0].labels.shape)
    about = f"{schema.network} on {schema.dataset}, protocol {plan.protocol.name}"
    columns = [
        photo_column(schema.images[image], about, store.read("preview", image), size),
        truth_column("ground truth", scored[0].labels, size),
    ]
    for pair, each in zip(plan.pairs, scored, strict=True):
        title = pair.label if pair.temperature is None else f"{pair.label}, T = {pair.temperature:g}"
        ends = f"colours end at percentiles {PERCENTILES[0]} and {PERCENTILES[1]}"
        formula = f"{plan.methods[pair.method].formula}; {ends}"
        columns.append(score_column(title, formula, each.scores, colour_limits(each.scores), size))
    return draw_figure(columns)

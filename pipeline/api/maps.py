"""Scores of single images in Python: the plan of what was asked for, and a map for each of its pairs."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from logitpipe.api.arguments.methods import OneMethod, as_methods
from logitpipe.api.arguments.progress import followed
from logitpipe.cache.errors import UsageError

if TYPE_CHECKING:
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.passes.maps import ScoreMap
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.protocols import Protocol


def planned(
    store: "Store",
    methods: OneMethod | Sequence[OneMethod],
    temperature: float,
    protocol: "Protocol",
    *,
    map_temperature: float = 1.0,
    mask_temperature: float = 1.0,
    statistics: str | PathLike[str] | None = None,
) -> "Plan":
    """Return the plan of some methods at one temperature; PipeError where one cannot be computed from the store."""
    from logitpipe.runs.fitting import statistics_of
    from logitpipe.runs.temperatures import require_temperatures
    from logitpipe.stages.score.passes.spread import is_tiny
    from logitpipe.stages.score.plan import make_plan

    names, functions = as_methods(methods)
    T, T_S, T_m = require_temperatures([temperature, map_temperature, mask_temperature])
    fitted = statistics_of(store.schema, None if statistics is None else Path(statistics), ())
    return make_plan(
        store.schema,
        # Thinning is for counting: a map has every pixel.
        replace(protocol, thin_above=None),
        [*names, *functions],
        [T],
        functions=functions,
        map_temperatures=[T_S],
        mask_temperatures=[T_m],
        statistics=fitted,
        fine=is_tiny(store),
    )


def scored_maps(
    store: "Store",
    plan: "Plan",
    image: int,
    progress: bool | None,
) -> "list[ScoreMap]":
    """Return a map of one image for each pair of a plan.

    Raises
    ------
    PipeError
        The image is damaged, or the protocol skips it.
    """
    from logitpipe.console.messages import COMPILING, word_if_slow
    from logitpipe.stages.score.labels.ground_truth import DrawnTruth
    from logitpipe.stages.score.passes.maps import score_map

    truth, maps = DrawnTruth(store, plan.protocol, [image]), []
    with followed(progress), word_if_slow(COMPILING):
        for pair in plan.pairs:
            found = score_map(store, replace(plan, pairs=(pair,)), truth, image)
            if found is None:
                name = store.schema.images[image]
                raise UsageError(f"the protocol {plan.protocol.name} skips {name!r}, which shows no anomaly")
            maps.append(found)
    return maps

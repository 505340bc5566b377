"""One image as it is drawn: photograph, ground truth, and the scores of some methods in colours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from logitpipe.cache.reading.store import Store
from logitpipe.pictures.panels import draw_figure, panel_size, photo_column, score_column, truth_column
from logitpipe.stages.score.passes.maps import ScoreMap
from logitpipe.stages.score.plan import Plan

PERCENTILES = (1, 99)
"""Where the colours end: a few extreme pixels would leave no colours for the others."""


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

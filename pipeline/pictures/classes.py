"""Predicted classes in colours: Cityscapes' own, and for other names colours that differ as much as they can."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from logitpipe.cache.reading.store import Store
from logitpipe.pictures.panels import Column, draw_figure, legend_column, panel_size, photo_column, truth_column
from logitpipe.stages.classes import CITYSCAPES
from logitpipe.stages.score.passes.maps import ScoreMap

COLOURS = {each.name: each.colour for each in CITYSCAPES}
GOLDEN = 0.618034
"""Turns of the hue from class to class: no two of a few hundred come close to each other."""


def class_colours(names: Sequence[str]) -> np.ndarray:
    """Return the colours of classes, uint8 (K, 3)."""
    found = []
    for place, name in enumerate(names):
        hue, value = place * GOLDEN % 1, (0.95, 0.75, 0.55)[place % 3]
        mixed = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.7, value))
        found.append(COLOURS.get(name, mixed))
    return np.array(found, np.uint8)


def draw_classes(store: Store, names: Sequence[str], image: int, found: ScoreMap) -> Image.Image:
    """Return photograph, ground truth and predicted classes side by side; `found` has places in `names` as scores."""
    schema, size = store.schema, panel_size(*found.labels.shape)
    predicted, colours = found.scores.astype(np.intp), class_colours(names)
    # Nearest: the mean of two classes' colours is the colour of a third.
    panel = Image.fromarray(colours[predicted]).resize(size, Image.Resampling.NEAREST)
    counts = np.bincount(predicted.ravel(), minlength=len(names))
    most_first = [place for place in np.argsort(-counts, kind="stable").tolist() if counts[place]]
    legend = [(names[place], tuple(colours[place].tolist())) for place in most_first]
    columns: list[Column] = [
        photo_column(
            schema.images[image], f"{schema.network} on {schema.dataset}", store.read("preview", image), size
        ),
        truth_column("ground truth", found.labels, size),
        legend_column("predicted classes, most frequent first", panel, legend),
    ]
    return draw_figure(columns)

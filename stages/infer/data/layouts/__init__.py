"""Layouts of data sets by name, and the one that a folder has."""

from collections.abc import Mapping

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.data.layout import Layout
from logitpipe.stages.infer.data.layouts import (
    bdd,
    cityscapes,
    fishyscapes,
    issu,
    lost_and_found,
    plain,
    road_anomaly,
    smiyc,
    street_hazards,
    table,
)
from logitpipe.stages.infer.data.tree import Tree

LAYOUTS: dict[str, Layout] = {
    "smiyc": smiyc.SMIYC,
    "road-anomaly": road_anomaly.ROAD_ANOMALY,
    "lost-and-found": lost_and_found.LABEL_IDS,
    "lost-and-found-trainids": lost_and_found.TRAIN_IDS,
    "lost-and-found-noknown": lost_and_found.NO_KNOWN,
    "fishyscapes": fishyscapes.Fishyscapes(),
    "cityscapes": cityscapes.TRAIN_IDS,
    "cityscapes-labelids": cityscapes.LABEL_IDS,
    "cityscapes-colour": cityscapes.COLOURS,
    "issu": issu.ISSU,
    "street-hazards": street_hazards.ONE_BASED,
    "street-hazards-0based": street_hazards.ZERO_BASED,
    "bdd-anomaly": bdd.BDD_ANOMALY,
    "course": plain.COURSE,
    "plain": plain.PLAIN,
    "pictures": plain.PICTURES,
    "csv": table.Table(),
}
"""Name -> layout. Those that are `general` are taken only where no other one fits."""


def layout_named(name: str) -> Layout:
    """Return a layout by its name; a UsageError that lists all names where there is none."""
    if name not in LAYOUTS:
        raise UsageError(f"there is no layout {name!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def fitting_layouts(tree: Tree) -> Mapping[str, Layout]:
    """Return the layouts that a folder looks like: the special ones, and general ones only without them."""
    fitting = {name: layout for name, layout in LAYOUTS.items() if layout.recognises(tree)}
    # General layouts ask for no more than folders such as `images/`, which special ones may have too: then two
    # would fit.
    return {name: layout for name, layout in fitting.items() if not layout.general} or fitting


def find_layout(tree: Tree) -> str:
    """Return the name of the one layout that a folder looks like.

    Raises
    ------
    PipeError
        No layout fits, or several do.
    """
    names = list(fitting_layouts(tree))
    if not names:
        raise PipeError(f"{tree.path}: expected a data set of a known layout, and none fits", "list-layouts")
    # Never guessed: layouts that look alike give the same codes other meanings.
    if len(names) > 1:
        raise PipeError(f"{tree.path}: the folder looks like several layouts: {', '.join(names)}", "name-layout")
    return names[0]

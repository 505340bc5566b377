"""Which classes a network's and a data set's are held to be the same: label spaces, by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from logitpipe.cache import PipeError, Schema
from logitpipe.stages.classes import CLASS_LISTS, COCO_TO_CITYSCAPES, MACRO_CLASSES

NO_CLASS = 255
"""Label of a pixel that is not counted."""


@dataclass(frozen=True)
class LabelSpace:
    """Classes, and what goes into each.

    Parameters
    ----------
    name : as reports print it
    classes : names, in their order
    members : name of a network's or a data set's class -> index of its class here; what has none takes no part
    """

    name: str
    classes: tuple[str, ...]
    members: Mapping[str, int]

    def channels(self, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
        """Return which channels of a store take part, and the class of each: int64 (P,) and (P,).

        Raises
        ------
        PipeError
            They make up fewer than two classes.
        """
        found = [(channel, self.members[name]) for channel, name in enumerate(schema.classes) if name in self.members]
        found = [(channel, group) for channel, group in found if channel != schema.unknown_class]
        if len({group for _, group in found}) < 2:
            raise PipeError(
                f"the label space {self.name} has fewer than two of the classes of {schema.network}", "label-space"
            )
        # Each of them contiguous: kernels would be compiled once more for arrays with gaps.
        channels, groups = np.array(found, np.int64).T.copy()
        return channels, groups

    def table(self, codes: Mapping[str, int]) -> np.ndarray:
        """Return the class of each code of a mask, NO_CLASS for all others: uint8 (256,).

        Parameters
        ----------
        codes : name of a data set's class -> its code
        """
        table = np.full(256, NO_CLASS, np.uint8)
        for name, code in codes.items():
            table[code] = self.members.get(name, NO_CLASS)
        return table


def _space(name: str, classes: Iterable[str], groups: Mapping[str, str]) -> LabelSpace:
    """Return a space of classes from Cityscapes' names for what goes into each; COCO's names follow."""
    order = tuple(classes)
    members = {member: order.index(group) for member, group in groups.items()}
    # Under either name a class has its place: networks trained on COCO are held against masks of Cityscapes.
    coco = {theirs: members[ours] for theirs, ours in COCO_TO_CITYSCAPES.items() if ours in members}
    return LabelSpace(name, order, members | coco)


_NAMES = CLASS_LISTS["cityscapes"]
_COMMON = tuple(name for name in _NAMES if name in COCO_TO_CITYSCAPES.values())

LABEL_SPACES: dict[str, LabelSpace] = {
    "cityscapes": _space("cityscapes", _NAMES, {name: name for name in _NAMES}),
    "macro": _space("macro", MACRO_CLASSES, {name: of for of, names in MACRO_CLASSES.items() for name in names}),
    "common": _space("common", _COMMON, {name: name for name in _COMMON}),
}
"""Cityscapes' 19 classes, their 7 categories, and the 17 that COCO has too. Any store has a space "own" as well."""


def label_space(name: str, schema: Schema) -> LabelSpace:
    """Return a label space by its name; "own" has the classes that the network of a store knows."""
    if name != "own":
        return LABEL_SPACES[name]
    known = [each for channel, each in enumerate(schema.classes) if channel != schema.unknown_class]
    return LabelSpace("own", tuple(known), {each: index for index, each in enumerate(known)})

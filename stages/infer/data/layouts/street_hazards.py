"""StreetHazards (Hendrycks et al., ICML 2022): rendered streets; its masks circulate with codes from 0 and from 1."""

from dataclasses import dataclass, replace

import numpy as np

from logitpipe.stages.infer.data.layout import Codes, Source
from logitpipe.stages.infer.data.masks import MaskRules, read_codes
from logitpipe.stages.infer.data.paired import Pair, Paired
from logitpipe.stages.infer.data.tree import Tree

CLASSES = (
    "unlabeled",
    "building",
    "fence",
    "other",
    "pedestrian",
    "pole",
    "road line",
    "road",
    "sidewalk",
    "vegetation",
    "car",
    "wall",
    "traffic sign",
)
_COLOURS = (
    *((0, 0, 0), (70, 70, 70), (190, 153, 153), (250, 170, 160), (220, 20, 60), (153, 153, 153), (157, 234, 50)),
    *((128, 64, 128), (244, 35, 232), (107, 142, 35), (0, 0, 142), (102, 102, 156), (220, 220, 0), (60, 250, 240)),
)
LOOKED_AT = 24
"""Masks that are read to tell the two kinds of codes apart."""


@dataclass(frozen=True)
class _ByCodes(Paired):
    """A layout of pairs that only its codes tell from another.

    Parameters
    ----------
    shift : code of the first class
    """

    shift: int = 0

    def recognises(self, tree: Tree) -> bool:
        """Return whether folders and codes are such; 0 beside 14 fits both kinds, as 0 may be void."""
        if not super().recognises(tree):
            return False
        found = self._codes_of_first(tree)
        # Shifted codes (1 to 14) read as unshifted ones (0 to 13) would take a wrong class for the anomaly, without
        # an error.
        return 0 in found if self.shift == 0 else bool(found) and (0 not in found or 14 in found)

    def _codes_of_first(self, tree: Tree) -> set[int]:
        # A few masks show most classes of a street; to read all would take minutes.
        masks = [sample.mask for sample in self.listing(tree).samples if sample.mask]
        rules = MaskRules(palette=self.codes.palette)
        return {int(code) for mask in masks[:LOOKED_AT] for code in np.unique(read_codes(mask, rules))}


ONE_BASED = _ByCodes(
    drawing="""\
StreetHazards/
  test/images/test/t5/300.png         or images/ and annotations/ without test/
  test/annotations/test/t5/300.png    1 to 13 are classes, 14 is the anomaly""",
    pairs=(
        Pair("test/images", "test/annotations"),
        Pair("images", "annotations"),
        Pair("train/images", "train/annotations"),
    ),
    codes=Codes("normal=1-13,anomaly=14,void=0+255", {name: code for code, name in enumerate(CLASSES, 1)}),
    sources=(
        Source(
            "test set",
            "https://people.eecs.berkeley.edu/~hendrycks/streethazards_test.tar",
            checksum="md5 8c547c1346b00c21b2483887110bfea7",
        ),
        Source(
            "training and validation set",
            "https://people.eecs.berkeley.edu/~hendrycks/streethazards_train.tar",
            checksum="md5 cd2d1a8649848afb85b5059d227d2090",
        ),
    ),
    shift=1,
)

ZERO_BASED = replace(
    ONE_BASED,
    drawing=ONE_BASED.drawing.replace("1 to 13 are classes, 14", "0 to 12 are classes, 13"),
    codes=Codes(
        "normal=0-12,anomaly=13,void=255",
        {name: code for code, name in enumerate(CLASSES)},
        {colour: code for code, colour in enumerate(_COLOURS)},
    ),
    shift=0,
)

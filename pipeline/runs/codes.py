"""The codes in a folder of masks: found, counted, and what each of them means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.console.progress import Progress

if TYPE_CHECKING:
    from logitpipe.stages.infer.data.masks import MaskRules

SCHEMA_VERSION = 1
"""Of the JSON object of `pipe labels`."""

WITHOUT_LOSS = (".png", ".webp", ".bmp", ".tif", ".tiff", ".npy")
"""Endings of masks in a folder of no layout, where a JPEG is a photograph."""

MEANINGS = ("normal", "anomaly", "void", None)
"""By the values of `logitpipe.stages.score.labels.codes.LabelCodes.table`."""


@dataclass
class CodeCounts:
    """How often each code occurs.

    Parameters
    ----------
    pixels : int64 (256,), pixels of each code
    masks : int64 (256,), masks that hold the code
    total : number of masks
    skipped : files that hold no codes of 8 bits
    """

    pixels: np.ndarray
    masks: np.ndarray
    total: int
    skipped: list[str]


def describe_codes(folder: Path, counts: CodeCounts, label_codes: str | None = None) -> dict[str, Any]:
    """Return what was counted, and what each code means (None: nothing).

    Parameters
    ----------
    label_codes : what the layout says, in the form of --label-codes; None for what the protocols say
    """
    from logitpipe.stages.score.labels.codes import STANDARD_CODES, LabelCodes

    codes = LabelCodes.parse(label_codes, needs_anomaly=False) if label_codes else STANDARD_CODES
    table, pixels = codes.table(void_as_anomaly=False), int(counts.pixels.sum())
    found = [
        {
            "code": code,
            "pixels": int(counts.pixels[code]),
            "share": counts.pixels[code] / pixels,
            "masks": int(counts.masks[code]),
            "meaning": MEANINGS[table[code]],
        }
        for code in np.flatnonzero(counts.pixels).tolist()
    ]
    meanings = {code["meaning"] for code in found}
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": str(folder),
        "masks": counts.total,
        "skipped": counts.skipped,
        "pixels": pixels,
        "label_codes": codes.text(),
        "codes": found,
        "fits_protocols": {"normal", "anomaly"} <= meanings and None not in meanings,
    }


def find_masks(folder: Path, layout: str | None) -> "tuple[list[Path], MaskRules]":
    """Return the masks of a data set as its layout has them, or else all files in the folder that may be masks."""
    from logitpipe.stages.infer.data.datasets import natural_key
    from logitpipe.stages.infer.data.layouts import find_layout, fitting_layouts, layout_named
    from logitpipe.stages.infer.data.masks import MaskRules
    from logitpipe.stages.infer.data.tree import Tree, suffix

    if not folder.exists():
        raise PipeError(f"{folder}: expected a folder of masks, there is none")
    tree = Tree(folder)
    if layout or fitting_layouts(tree):
        chosen = layout_named(layout or find_layout(tree))
        rules = MaskRules(chosen.codes.labels, chosen.codes.palette)
        masks = [sample.mask for sample in chosen.listing(tree).samples if sample.mask]
    else:
        files, rules = tree.files(), MaskRules()
        masks = [folder / name for name in (*files.pictures, *files.others) if suffix(name) in WITHOUT_LOSS]
    if not masks:
        raise PipeError(f"{folder}: expected masks, there are none", "name-masks")
    return sorted(masks, key=lambda mask: natural_key(str(mask))), rules


def count_codes(masks: Sequence[Path], rules: "MaskRules") -> CodeCounts:
    """Count the codes of masks; a file that holds no codes of 8 bits is passed over.

    Raises
    ------
    PipeError
        A file cannot be read, or none holds codes.
    """
    from logitpipe.stages.infer.data.masks import NoCodesError, read_codes

    counts, failure = CodeCounts(np.zeros(256, np.int64), np.zeros(256, np.int64), 0, []), None
    with Progress("reading", len(masks), "masks") as progress:
        for mask in masks:
            try:
                pixels = np.bincount(read_codes(mask, rules).reshape(-1), minlength=256)
            except NoCodesError as error:
                counts.skipped.append(mask.name)
                # The first one is told where no file holds codes: then it is the folder that is wrong, and not a
                # file.
                failure = failure or error
            else:
                counts.pixels += pixels
                counts.masks += pixels > 0
                counts.total += 1
            progress.advance()
    if failure and not counts.total:
        raise failure
    return counts

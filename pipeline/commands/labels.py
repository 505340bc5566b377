"""`pipe labels`: the codes found in a folder of masks, so that one knows what --label-codes has to say."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.console.messages import note
from logitpipe.console.options import max_pixels_option
from logitpipe.console.progress import Progress
from logitpipe.console.text import aligned, counted, listed, printable

if TYPE_CHECKING:
    from logitpipe.stages.infer.data.masks import MaskRules

SCHEMA_VERSION = 1
WITHOUT_LOSS = (".png", ".webp", ".bmp", ".tif", ".tiff", ".npy")
"""Endings of masks in a folder of no layout, where a JPEG is a photograph."""

MEANINGS = ("normal", "anomaly", "void", None)
"""By the values of `logitpipe.stages.score.labels.LabelCodes.table`."""


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


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--layout", metavar="NAME", help="How the files lie, where that is not clear; see `pipe list layouts`.")
@max_pixels_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def labels(folder: Path, layout: str | None, as_json: bool) -> None:
    """Count the codes in a folder of masks.

    DIR is a data set of any layout, or a folder of masks. The last lines tell whether the codes are those that the
    layout has, or need --label-codes. Coloured files and files of 16 bits are passed over.
    """
    masks, rules = _find_masks(folder, layout)
    document = describe_codes(folder, _count_codes(masks, rules), rules.label_codes)
    if skipped := document["skipped"]:
        note(f"passed over, as they hold no codes of 8 bits: {counted(len(skipped), 'file')}, {listed(skipped)}")
    click.echo(json.dumps(document, indent=1) if as_json else "\n".join(_lines(document)))


def describe_codes(folder: Path, counts: CodeCounts, label_codes: str | None = None) -> dict[str, Any]:
    """Return what was counted, and what each code means (None: nothing).

    Parameters
    ----------
    label_codes : what the layout says, in the form of --label-codes; None for what the protocols say
    """
    from logitpipe.stages.score.labels import STANDARD_CODES, LabelCodes

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


def _find_masks(folder: Path, layout: str | None) -> "tuple[list[Path], MaskRules]":
    """Return the masks of a data set as its layout has them, or else all files in the folder that may be masks."""
    from logitpipe.stages.infer.data.datasets import natural_key
    from logitpipe.stages.infer.data.layouts import find_layout, fitting_layouts, layout_named
    from logitpipe.stages.infer.data.layouts.tree import Tree, suffix
    from logitpipe.stages.infer.data.masks import MaskRules

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


def _count_codes(masks: Sequence[Path], rules: "MaskRules") -> CodeCounts:
    from logitpipe.stages.infer.data.masks import NoCodesError, read_codes

    counts, failure = CodeCounts(np.zeros(256, np.int64), np.zeros(256, np.int64), 0, []), None
    with Progress("reading", len(masks), "masks") as progress:
        for mask in masks:
            try:
                pixels = np.bincount(read_codes(mask, rules).reshape(-1), minlength=256)
            except NoCodesError as error:
                counts.skipped.append(mask.name)
                failure = failure or error
            else:
                counts.pixels += pixels
                counts.masks += pixels > 0
                counts.total += 1
            progress.advance()
    if failure and not counts.total:
        raise failure
    return counts


def _lines(document: dict[str, Any]) -> list[str]:
    head = ["code", "pixels", "share", "masks", "meaning"]
    rows = [
        [
            str(code["code"]),
            f"{code['pixels']:,}",
            f"{code['share']:.4%}",
            f"{code['masks']} of {document['masks']}",
            code["meaning"] or "unknown",
        ]
        for code in document["codes"]
    ]
    title = f"{document['folder']}: {counted(document['masks'], 'mask')}, {counted(document['pixels'], 'pixel')}"
    return [printable(title), "", *aligned([head, *rows], right=(0, 1, 2, 3)), "", _hint(document)]


def _hint(document: dict[str, Any]) -> str:
    unknown = [str(code["code"]) for code in document["codes"] if code["meaning"] is None]
    standard = document["label_codes"] == "normal=0,anomaly=1-2,void=255"
    whose = "The protocols" if standard else f"The layout's codes ({document['label_codes']})"
    if unknown:
        return (
            f"{whose} do not know {'code' if len(unknown) == 1 else 'codes'} {', '.join(unknown)}: "
            "say what every code means with `--label-codes normal=...,anomaly=...,void=...`."
        )
    if document["fits_protocols"]:
        expected = "the protocols expect" if standard else f"the layout has ({document['label_codes']})"
        return f"These codes are what {expected}: no --label-codes needed."
    found = {code["meaning"] for code in document["codes"]}
    lacking = " and no ".join(meaning for meaning in ("normal", "anomaly") if meaning not in found)
    return (
        f"{whose} know these codes, but there is no {lacking} pixel among them: figures need both. "
        "If the codes mean something else here, say so with `--label-codes normal=...,anomaly=...,void=...`."
    )

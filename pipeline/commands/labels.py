"""`pipe labels`: the codes found in a folder of masks, so that one knows what --label-codes has to say."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.console.progress import Progress
from logitpipe.console.text import aligned, counted, printable

SCHEMA_VERSION = 1
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
    """

    pixels: np.ndarray
    masks: np.ndarray
    total: int


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def labels(folder: Path, as_json: bool) -> None:
    """Count the codes in a folder of masks.

    DIR is a data set's folder or its labels_masks folder. The last lines tell whether the codes are those that
    the protocols know, or need --label-codes.
    """
    masks = _find_masks(folder)
    document = describe_codes(folder, _count_codes(masks))
    click.echo(json.dumps(document, indent=1) if as_json else "\n".join(_lines(document)))


def describe_codes(folder: Path, counts: CodeCounts) -> dict[str, Any]:
    """Return what was counted, and what each code means to the protocols (None: nothing)."""
    from logitpipe.stages.score.labels import STANDARD_CODES

    table, pixels = STANDARD_CODES.table(void_as_anomaly=False), int(counts.pixels.sum())
    codes = [
        {
            "code": code,
            "pixels": int(counts.pixels[code]),
            "share": counts.pixels[code] / pixels,
            "masks": int(counts.masks[code]),
            "meaning": MEANINGS[table[code]],
        }
        for code in np.flatnonzero(counts.pixels).tolist()
    ]
    meanings = {code["meaning"] for code in codes}
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": str(folder),
        "masks": counts.total,
        "pixels": pixels,
        "codes": codes,
        "fits_protocols": {"normal", "anomaly"} <= meanings and None not in meanings,
    }


def _find_masks(folder: Path) -> list[Path]:
    from logitpipe.stages.infer.data.datasets import MASK_SUFFIXES, MASKS, natural_key

    if not folder.is_dir():
        raise PipeError(f"{folder}: expected a folder of masks, there is none")
    inside = folder / MASKS if (folder / MASKS).is_dir() else folder
    masks = [
        file for file in inside.iterdir() if file.suffix.lower() in MASK_SUFFIXES and not file.name.startswith(".")
    ]
    if not masks:
        raise PipeError(
            f"{inside}: expected masks ({' or '.join(MASK_SUFFIXES)}), there are none; "
            f"name a folder of masks, or one with {MASKS}/ in it"
        )
    return sorted(masks, key=lambda mask: natural_key(mask.name))


def _count_codes(masks: Sequence[Path]) -> CodeCounts:
    from logitpipe.stages.infer.data.masks import read_codes

    counts = CodeCounts(np.zeros(256, np.int64), np.zeros(256, np.int64), len(masks))
    with Progress("reading", len(masks), "masks") as progress:
        for mask in masks:
            pixels = np.bincount(read_codes(mask).reshape(-1), minlength=256)
            counts.pixels += pixels
            counts.masks += pixels > 0
            progress.advance()
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
    if unknown:
        return (
            f"The protocols do not know {'code' if len(unknown) == 1 else 'codes'} {', '.join(unknown)}: "
            "say what every code means with `--label-codes normal=...,anomaly=...,void=...`."
        )
    if document["fits_protocols"]:
        return "These codes are what the protocols expect: no --label-codes needed."
    found = {code["meaning"] for code in document["codes"]}
    lacking = " and no ".join(meaning for meaning in ("normal", "anomaly") if meaning not in found)
    return (
        f"The protocols know these codes, but there is no {lacking} pixel among them: figures need both. "
        "If the codes mean something else here, say so with `--label-codes normal=...,anomaly=...,void=...`."
    )

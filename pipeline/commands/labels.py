"""`pipe labels`: the codes found in a folder of masks, so that one knows what --label-codes has to say."""

import json
from pathlib import Path
from typing import Any

import click

from logitpipe.console.messages import note
from logitpipe.console.options import FilePath, max_pixels_option
from logitpipe.console.text import aligned, counted, listed, printable
from logitpipe.runs.codes import count_codes, describe_codes, find_masks


@click.command()
@click.argument("folder", metavar="DIR", type=FilePath())
@click.option("--layout", metavar="NAME", help="How the files lie, where that is not clear; see `pipe list layouts`.")
@max_pixels_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def labels(folder: Path, layout: str | None, as_json: bool) -> None:
    """Count the codes in a folder of masks.

    DIR is a data set of any layout, or a folder of masks. The last lines tell whether the codes are those of the
    layout; if not, scoring needs --label-codes. Coloured files and files of 16 bits are passed over.

    \b
    Examples:
      pipe labels RoadAnomaly21
      pipe labels my-masks
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    masks, rules = find_masks(folder, layout)
    document = describe_codes(folder, count_codes(masks, rules), rules.label_codes)
    if skipped := document["skipped"]:
        note(f"passed over, as they hold no codes of 8 bits: {counted(len(skipped), 'file')}, {listed(skipped)}")
    click.echo(json.dumps(document, indent=1) if as_json else "\n".join(_lines(document)))


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

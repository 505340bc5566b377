"""The benchmarks' own figures as records: the same names in FAMILY.json and FAMILY.csv of a results folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.results.columns import FORMAT
from logitpipe.results.plain_rows import csv_bytes, csv_text
from logitpipe.stages.score.figures.components import PER_CENT
from logitpipe.stages.score.figures.open_set import OpenSetFigures
from logitpipe.stages.score.passes.closed_set import ClosedSetRow
from logitpipe.stages.score.passes.components import ComponentRow
from logitpipe.stages.score.passes.open_set import OpenSetRow

Record = dict[str, Any]
Records = Mapping[str, Sequence[Record]]
"""Name of a family of figures -> its records."""

FAMILIES = ("components", "closed_set", "open_set")
FILES = tuple(f"{name}.{ending}" for name in FAMILIES for ending in ("json", "csv"))


def component_record(row: ComponentRow) -> Record:
    """Return one row: keys, means, then F1 and its counts at each t in per cent, such as `f1_25` and `tp_25`."""
    figures = row.figures
    counted = {"f1": figures.f1_at, "tp": figures.tp, "fn": figures.fn, "fp": figures.fp}
    return _plain(row) | {
        "components_truth": figures.components_truth,
        "components_predicted": figures.components_predicted,
        "siou": figures.siou,
        "ppv": figures.ppv,
        "f1": figures.f1,
        **{f"{name}_{t}": value for name, at in counted.items() for t, value in zip(PER_CENT, at, strict=True)},
    }


def closed_set_record(row: ClosedSetRow) -> Record:
    """Return one row: keys, figures, then the IoU of each class, such as `iou_road`."""
    figures = {field.name: getattr(row.figures, field.name) for field in fields(row.figures) if field.name != "iou"}
    ious = {f"iou_{name}": iou for name, iou in zip(row.classes, row.figures.iou, strict=True)}
    return {name: value for name, value in _plain(row).items() if name != "classes"} | figures | ious


def open_set_record(row: OpenSetRow) -> Record:
    """Return one row: keys and figures; a figure that needs classes is None where the masks name none."""
    figures = {field.name: getattr(row.figures, field.name, None) for field in fields(OpenSetFigures)}
    return _plain(row) | figures


def write_benchmarks(folder: Path, records: Records) -> None:
    """Write FAMILY.json and FAMILY.csv of each family, and remove those of families that are not there.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    for name in FAMILIES:
        if name not in records:
            for ending in ("json", "csv"):
                (folder / f"{name}.{ending}").unlink(missing_ok=True)
            continue
        document = {"schema_version": FORMAT, name: list(records[name])}
        Folder(folder).publish(f"{name}.json", (json.dumps(document, indent=1) + "\n").encode())
        Folder(folder).publish(f"{name}.csv", csv_bytes(records_as_csv(records[name])))


def read_benchmarks(folders: Sequence[Path]) -> Records:
    """Return the records that `write_benchmarks` wrote into folders, of each family those of all.

    Raises
    ------
    PipeError
        A file is damaged.
    """
    found: dict[str, list[Record]] = {}
    for folder in folders:
        for name in FAMILIES:
            file = folder / f"{name}.json"
            if not file.is_file():
                continue
            try:
                found.setdefault(name, []).extend(json.loads(file.read_text(encoding="utf-8"))[name])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise PipeError(f"{file}: cannot be read ({error!r})", "score again", folder=folder) from error
    return found


def records_as_csv(records: Sequence[Record]) -> str:
    """Return one line for each record; a column that only some records have is empty in the others."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return csv_text({name: [record.get(name) for record in records] for name in names})


def _plain(row: ComponentRow | ClosedSetRow | OpenSetRow) -> Record:
    return {field.name: getattr(row, field.name) for field in fields(row) if field.name != "figures"}

"""Reader of the folders that `pipe score --out` wrote; every value is checked before it is used."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.keys import METADATA
from logitpipe.results import arrays, version_1
from logitpipe.results.benchmarks import read_rows
from logitpipe.results.columns import FORMAT, from_record
from logitpipe.results.series import Drawn, JoinedResults, Run, arranged
from logitpipe.stages.score.figures.curves import BINS, POINTS, Sketch
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.protocols import from_document

OF_RUN: Mapping[str, type | UnionType] = {
    "command": str,
    "finished": str,
    "versions": dict,
    "exact": bool,
    "protocol": dict,
    "stores": list,
}
OF_STORE: Mapping[str, type | UnionType] = {
    "store": str,
    "path": str,
    "facts": dict,
    "weights_sha256": str | None,
    "input_size": list,
    "precision": str,
    "software": dict,
    "fingerprint": str,
    "images": int,
    "missing": list,
}
"""What the page says of a run and of each store, and the types that it must have."""

SKETCHES = {1: version_1.read_sketches, FORMAT: arrays.read_sketches}
"""By the format of the folder."""

SLACK = 1e-6
"""What rounding may add to a fraction."""


def read_results(folders: Sequence[Path]) -> JoinedResults:
    """Read the results in folders, and join them.

    Raises
    ------
    PipeError
        In one there are none, or they are damaged, of a later release, or of different runs.
    """
    return arranged([_read_folder(folder) for folder in folders])


def _read_folder(folder: Path) -> tuple[Run, list[Drawn]]:
    _require_results(folder)
    try:
        return _read(folder)
    except PermissionError as error:
        raise PipeError(f"{error.filename}: cannot be read ({error.strerror})") from error
    # The files may come from anyone. These are the errors that damaged JSON and arrays can raise here;
    # RecursionError is that of deeply nested lists.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PipeError(
            f"{folder}: these are not the results of one run of this release or an earlier one ({error!r})",
            "score again",
            folder=folder,
        ) from error


def _require_results(folder: Path) -> None:
    """Tell what else lies there: a store is easily taken for its results, and a file for its folder."""
    if (folder / METADATA).exists() or (folder.is_file() and folder.suffix == ".zip"):
        raise PipeError(f"{folder}: expected results, but this is a store", "score-store", store=folder)
    if folder.is_file():
        raise PipeError(f"{folder}: expected a folder of results, but this is a file", "results-folder")
    if not (folder / "results.json").is_file():
        raise PipeError(f"{folder}: expected results, but there is no results.json", "score", folder=folder)


def _read(folder: Path) -> tuple[Run, list[Drawn]]:
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    # Before anything else is read: a later release may give the same names another meaning.
    if document["schema_version"] not in SKETCHES:
        raise ValueError(f"schema_version {document['schema_version']!r}, expected {FORMAT} or less")
    rows = _rows(document)
    record = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["run"]
    _check_record(record, rows)
    sketches = SKETCHES[document["schema_version"]](folder / "results.zarr", rows)
    # Checked here once, so that tables and charts need not ask what they are given.
    for row, sketch in zip(rows, sketches, strict=True):
        _check_sketch(row, sketch)
    origins = ((folder, i) for i in range(len(rows)))
    run = Run(folder, record, from_document(record["protocol"]), read_rows(folder))
    return run, list(zip(rows, sketches, origins, strict=True))


def _rows(document: dict[str, Any]) -> list[Row]:
    rows = [from_record(row) for row in document["results"]]
    for row in rows:
        _check_row(row)
    if not rows:
        raise ValueError("no rows")
    return rows


def _check_row(row: Row) -> None:
    texts = ("store", "network", "kind", "dataset", "protocol", "method", "parameters", "statistics")
    counts = ("images", "pixels", "positives")
    temperatures = ("temperature", "map_temperature", "mask_temperature")
    kinds = dict.fromkeys(texts, str) | dict.fromkeys(counts, int) | {"iou": list}
    values = {field.name: getattr(row, field.name) for field in fields(Row)}
    _check(values, kinds)
    scores = [name for name in values if name.endswith("_threshold")]
    # All other numbers of a row are figures or their bounds, and lie in 0..1.
    fractions = [value for name, value in values.items() if name not in (*kinds, *temperatures, *scores)]
    # No figure can be computed where one of the two classes has no pixel.
    exists = 0 < row.positives < row.pixels
    if any((getattr(row, name) is not None) != exists for name in ("auprc", "fpr95", "auroc", "best_f1")):
        raise ValueError("figures exist just where there are both anomalous and normal pixels")
    ious = [iou[name] for iou in row.iou for name in ("normal", "anomaly", "mean")]
    if not all(figure is None or -SLACK <= figure <= 1 + SLACK for figure in (*fractions, *ious)):
        raise ValueError("a figure is no fraction")
    numbers = [number for name in (*temperatures, *scores) if (number := values[name]) is not None]
    if not all(map(math.isfinite, numbers)) or not all(isinstance(iou["threshold"], float | int) for iou in row.iou):
        raise ValueError("a temperature or a threshold is no number")
    for name in temperatures:
        if values[name] is not None and values[name] <= 0:
            raise ValueError(f"{name} {values[name]!r}")


def _check_record(record: dict[str, Any], rows: Sequence[Row]) -> None:
    _check(record, OF_RUN)
    # For its ValueError alone: the page prints this date.
    datetime.fromisoformat(record["finished"])
    for store in record["stores"]:
        _check(store, OF_STORE)
    for name in {row.store for row in rows} - {store["store"] for store in record["stores"]}:
        raise KeyError(name)


def _check_sketch(row: Row, sketch: Sketch) -> None:
    sizes = {"recall": POINTS, "precision": POINTS, "fpr": POINTS, "normal": BINS, "anomaly": BINS, "edges": BINS + 1}
    drawn = {name: getattr(sketch, name) for name in sizes}
    finite = all(np.isfinite(array).all() for array in drawn.values()) or row.auprc is None
    if not finite or any(drawn[name].shape != (size,) for name, size in sizes.items()):
        raise ValueError(f"no curves of {row.method} that could be drawn")


def _check(document: dict[str, Any], kinds: Mapping[str, type | UnionType]) -> None:
    for name, kind in kinds.items():
        if not isinstance(document[name], kind):
            raise TypeError(f"{name} {document[name]!r}")

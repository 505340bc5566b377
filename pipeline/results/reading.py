"""The results of `pipe score --out DIR`, read back believing nothing."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from logitpipe.cache.errors import PipeError
from logitpipe.report.words import moment
from logitpipe.results.dataset import read_sketches
from logitpipe.results.series import Results, arranged
from logitpipe.stages.score.figures.curves import BINS, POINTS, Sketch
from logitpipe.stages.score.figures.rows import SCHEMA_VERSION, Row
from logitpipe.stages.score.protocols import from_document

OF_RUN = {"command": str, "finished": str, "versions": dict, "exact": bool, "protocol": dict, "stores": list}
OF_STORE = {
    "store": str,
    "path": str,
    "facts": dict,
    "weights_sha256": str,
    "input_size": list,
    "precision": str,
    "software": dict,
    "fingerprint": str,
    "images": int,
    "missing": list,
}
"""What the page says of a run and of each store, and the types that it must have."""

FRACTIONS = ("auprc", "auprc_lower", "auprc_upper", "fpr95", "auroc", "best_f1")
SLACK = 1e-6
"""What rounding may add to a fraction."""


def read_results(folder: Path) -> Results:
    """Read the results in a folder.

    Raises
    ------
    PipeError
        There are none, or they are damaged, of another version, or of different runs.
    """
    if not (folder / "results.json").is_file():
        raise PipeError(
            f"{folder}: expected results, but there is no results.json; `pipe score --out {folder}` makes it"
        )
    try:
        return _read(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PipeError(
            f"{folder}: these are not the results of one run of this release ({error!r}); "
            f"run `pipe score --out {folder}` again"
        ) from error


def _read(folder: Path) -> Results:
    rows = _rows(json.loads((folder / "results.json").read_text(encoding="utf-8")))
    run = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["run"]
    _check_run(run)
    with xarray.open_zarr(folder / "results.zarr") as dataset:
        sketches = read_sketches(dataset, rows)
    for row, sketch in zip(rows, sketches, strict=True):
        _check_sketch(row, sketch)
    return Results(run, from_document(run["protocol"]), arranged(rows, sketches, run))


def _rows(document: dict[str, Any]) -> list[Row]:
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document['schema_version']!r}, expected {SCHEMA_VERSION}")
    rows = [Row(**row) for row in document["results"]]
    for row in rows:
        _check_row(row)
    if not rows:
        raise ValueError("no rows")
    return rows


def _check_row(row: Row) -> None:
    texts, counts = ("store", "network", "kind", "dataset", "protocol", "method"), ("images", "pixels", "positives")
    kinds = dict.fromkeys(texts, str) | dict.fromkeys(counts, int) | {"iou": list}
    _check({f.name: getattr(row, f.name) for f in fields(Row)}, kinds)
    measured = [getattr(row, name) for name in FRACTIONS]
    exists = 0 < row.positives < row.pixels
    if any((figure is not None) != exists for figure in measured):
        raise ValueError("figures exist just where there are both anomalous and normal pixels")
    ious = [iou[name] for iou in row.iou for name in ("normal", "anomaly", "mean")]
    if not all(figure is None or -SLACK <= figure <= 1 + SLACK for figure in (*measured, *ious)):
        raise ValueError("a figure is no fraction")
    numbers = [number for number in (row.temperature, row.best_f1_threshold) if number is not None]
    if not all(map(math.isfinite, numbers)) or not all(isinstance(iou["threshold"], float | int) for iou in row.iou):
        raise ValueError("a temperature or a threshold is no number")
    if row.temperature is not None and row.temperature <= 0:
        raise ValueError(f"temperature {row.temperature!r}")


def _check_run(run: dict[str, Any]) -> None:
    _check(run, OF_RUN)
    moment(run["finished"])
    for store in run["stores"]:
        _check(store, OF_STORE)


def _check_sketch(row: Row, sketch: Sketch) -> None:
    sizes = {"recall": POINTS, "precision": POINTS, "fpr": POINTS, "normal": BINS, "anomaly": BINS, "edges": BINS + 1}
    arrays = {name: getattr(sketch, name) for name in sizes}
    finite = all(np.isfinite(array).all() for array in arrays.values()) or row.auprc is None
    if not finite or any(arrays[name].shape != (size,) for name, size in sizes.items()):
        raise ValueError(f"no curves of {row.method} that could be drawn")


def _check(document: dict[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(document[name], kind):
            raise TypeError(f"{name} {document[name]!r}")

"""The results of a run as files: JSON, CSV, Markdown, and a store that xarray opens."""

import csv
import io
import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from cache.errors import PipeError
from pipeline.render import markdown
from pipeline.tables import comparison_tables
from stages.score.results import SCHEMA_VERSION, Row

MEASURED = ("auprc", "auprc_lower", "auprc_upper", "fpr95", "auroc", "best_f1", "best_f1_threshold")


def as_document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows as one object for JSON; figures that do not exist are null."""
    return {"schema_version": SCHEMA_VERSION, "results": [asdict(row) for row in rows]}


def write_results(folder: Path, rows: Sequence[Row], settings: Mapping[str, Any]) -> None:
    """Write results.json, results.csv, results.md, results.zarr and settings.json, each whole or not at all.

    Raises
    ------
    PipeError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _publish(folder / "results.json", json.dumps(as_document(rows), indent=1) + "\n")
        _publish(folder / "results.csv", as_csv(rows))
        _publish(folder / "results.md", "\n\n".join(map(markdown, comparison_tables(rows))) + "\n")
        _publish(folder / "settings.json", json.dumps(settings, indent=1) + "\n")
        _publish_store(folder / "results.zarr", as_dataset(rows))
    except OSError as error:
        raise PipeError(f"--out {folder}: the results cannot be written ({error.strerror})") from error


def as_csv(rows: Sequence[Row]) -> str:
    """Return one line for each row, fractions; an IoU has columns for its threshold and its three figures."""
    thresholds = max((len(row.iou) for row in rows), default=0)
    plain = [field.name for field in fields(Row) if field.name != "iou"]
    names = ("threshold", "normal", "anomaly", "mean")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, *(f"iou_{i}_{name}" for i in range(thresholds) for name in names)])
    for row in rows:
        writer.writerow([*(getattr(row, name) for name in plain), *(iou[name] for iou in row.iou for name in names)])
    return text.getvalue()


def as_dataset(rows: Sequence[Row]) -> xarray.Dataset:
    """Return the figures as a data set over (store, method, temperature).

    A method that no temperature changes has its value at every temperature; NaN is what does not exist.
    """
    stores = list(dict.fromkeys(row.store for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    temperatures = sorted({row.temperature for row in rows if row.temperature is not None}) or [1.0]
    values = {name: np.full((len(stores), len(methods), len(temperatures)), np.nan) for name in MEASURED}
    for row in rows:
        at = slice(None) if row.temperature is None else temperatures.index(row.temperature)
        for name in MEASURED:
            figure = getattr(row, name)
            values[name][stores.index(row.store), methods.index(row.method), at] = (
                np.nan if figure is None else figure
            )
    dims = ("store", "method", "temperature")
    facts = {row.store: row for row in rows}
    per_store = {
        name: ("store", [getattr(facts[s], name) for s in stores]) for name in ("network", "dataset", "kind")
    }
    return xarray.Dataset(
        {name: (dims, array) for name, array in values.items()},
        coords={"store": stores, "method": methods, "temperature": temperatures, **per_store},
        attrs={"schema_version": SCHEMA_VERSION, "protocol": rows[0].protocol if rows else ""},
    )


def _publish(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _publish_store(path: Path, dataset: xarray.Dataset) -> None:
    """Write a Zarr v2 group: names of stores and methods are text, which the v3 core does not know."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        dataset.to_zarr(partial, mode="w", zarr_format=2, consolidated=True)
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

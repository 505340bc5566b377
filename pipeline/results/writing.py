"""The results of a run as files: JSON, CSV, Markdown, and a store that xarray opens."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder, beside
from logitpipe.results.dataset import as_dataset
from logitpipe.results.plain_rows import as_csv, as_document
from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.comparison import comparison_tables
from logitpipe.tables.render import markdown


def write_results(folder: Path, rows: Sequence[Row], sketches: Sequence[Sketch], settings: Mapping[str, Any]) -> None:
    """Write results.json, results.csv, results.md, results.zarr and settings.json, each whole or not at all.

    Parameters
    ----------
    sketches : one for each row; results.zarr holds them for `pipe report`

    Raises
    ------
    PipeError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _texts(rows, settings).items():
            Folder(folder).publish(name, text.encode())
        _publish_store(folder / "results.zarr", as_dataset(rows, sketches))
    except OSError as error:
        raise PipeError(f"--out {folder}: the results cannot be written ({error.strerror})") from error


def _texts(rows: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of text by name."""
    return {
        "results.json": json.dumps(as_document(rows), indent=1) + "\n",
        "results.csv": as_csv(rows),
        "results.md": "\n\n".join(map(markdown, comparison_tables(rows))) + "\n",
        "settings.json": json.dumps(settings, indent=1) + "\n",
    }


def _publish_store(path: Path, dataset: xarray.Dataset) -> None:
    """Write a Zarr v2 group: names of stores and methods are text, which the v3 core does not know."""
    partial = beside(path)
    try:
        dataset.to_zarr(partial, mode="w", zarr_format=2, consolidated=True)
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

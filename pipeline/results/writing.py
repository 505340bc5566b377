"""The results of a run as files: JSON, CSV, Markdown, and a store that xarray opens."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder, beside
from logitpipe.results.arrays import write_arrays
from logitpipe.results.benchmarks import Records, write_benchmarks
from logitpipe.results.columns import FORMAT
from logitpipe.results.per_image import histograms as per_image
from logitpipe.results.per_image.histograms import ImageCounts
from logitpipe.results.plain_rows import as_csv, as_document, csv_bytes
from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.comparison import comparison_tables
from logitpipe.tables.render import markdown
from logitpipe.tables.thresholds import threshold_tables


def write_results(
    folder: Path,
    rows: Sequence[Row],
    sketches: Sequence[Sketch],
    settings: Mapping[str, Any],
    images: Sequence[ImageCounts] = (),
    benchmarks: Records = MappingProxyType({}),
) -> None:
    """Write the files of `columns.FILES` and `benchmarks.FILES`, each whole or not at all.

    Parameters
    ----------
    sketches : one for each row; results.zarr holds them for what is drawn
    images : histograms of single images for each store, or nothing; per_image.zarr holds them
    benchmarks : the benchmarks' own figures, as far as they were asked for

    Raises
    ------
    PipeError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in _files(rows, settings).items():
            Folder(folder).publish(name, data)
        write_benchmarks(folder, benchmarks)
        _publish_group(folder / "results.zarr", lambda path: write_arrays(path, rows, sketches))
        if images:
            _publish_group(folder / per_image.NAME, lambda path: per_image.write_per_image(path, rows, images))
        else:  # those of replaced results would be of other rows
            shutil.rmtree(folder / per_image.NAME, ignore_errors=True)
    except OSError as error:
        found = f"the results cannot be written ({error.strerror})"
        raise PipeError(found, option="out", value=folder) from error


def _files(rows: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files that are text, by name."""
    tables = [*comparison_tables(rows), *threshold_tables(rows)]
    return {
        "results.json": (json.dumps(as_document(rows), indent=1) + "\n").encode(),
        "results.csv": csv_bytes(as_csv(rows)),
        "results.md": ("\n\n".join(map(markdown, tables)) + "\n").encode(),
        "settings.json": (json.dumps({"format": FORMAT, **settings}, indent=1) + "\n").encode(),
    }


def _publish_group(path: Path, write: Callable[[Path], None]) -> None:
    # A Zarr group is a folder of many files. It is built beside its place and renamed when it is whole,
    # so that a run that is killed leaves no group with some of its chunks.
    partial = beside(path)
    try:
        write(partial)
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

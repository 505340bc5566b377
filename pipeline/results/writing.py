"""The results of a run as files: JSON, CSV, Markdown, and a store that xarray opens."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder, beside, sync_folder
from logitpipe.console.output import refuse_to_replace
from logitpipe.results.arrays import write_arrays
from logitpipe.results.benchmarks import FILES as OF_BENCHMARKS
from logitpipe.results.benchmarks import Records, write_benchmarks
from logitpipe.results.columns import FILES, FORMAT
from logitpipe.results.per_image import histograms as per_image
from logitpipe.results.per_image.histograms import ImageCounts
from logitpipe.results.plain_rows import as_csv, as_document, csv_bytes
from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.comparison import comparison_tables
from logitpipe.tables.render import markdown
from logitpipe.tables.thresholds import threshold_tables

EVERY = (*FILES, *OF_BENCHMARKS)
"""What results consist of at most; results.json, which says that there are some, is the first."""


def write_results(
    folder: Path,
    rows: Sequence[Row],
    sketches: Sequence[Sketch],
    settings: Mapping[str, Any],
    images: Sequence[ImageCounts] = (),
    benchmarks: Records = MappingProxyType({}),
    overwrite: bool = False,
) -> None:
    """Write the files of `columns.FILES` and `benchmarks.FILES`: all of them, or none.

    They are made in a folder beside their places. So a full disk or an interruption leaves what was there before,
    and of two commands at once each puts all of its files or none.

    Parameters
    ----------
    sketches : one for each row; results.zarr holds them for what is drawn
    images : histograms of single images for each store, or nothing; per_image.zarr holds them
    benchmarks : the benchmarks' own figures, as far as they were asked for
    overwrite : whether results that lie there by now are replaced

    Raises
    ------
    PipeError
        The folder cannot be written, or has got results meanwhile.
    """
    partial = beside(folder / "results")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        for name, data in _files(rows, settings).items():
            Folder(partial).publish(name, data)
        write_benchmarks(partial, benchmarks)
        write_arrays(partial / "results.zarr", rows, sketches)
        if images:
            per_image.write_per_image(partial / per_image.NAME, rows, images)
        with _alone_in(folder):
            refuse_to_replace((folder / name for name in EVERY), overwrite)
            _put(partial, folder)
    except OSError as error:
        found = f"the results cannot be written ({error.strerror})"
        raise PipeError(found, option="out", value=folder) from error
    finally:
        if partial.exists():
            _remove(partial)


def _remove(folder: Path) -> None:
    """Remove what is left of a write; where one file of a group failed, zarr's threads still write others."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.02)
        if not folder.exists():
            return


def _put(partial: Path, folder: Path) -> None:
    """Move files and groups to their places, and remove what was there of other results."""
    # The first to go and the last to come: a folder that has results.json has all the others too.
    for name in EVERY:
        if (path := folder / name).is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in reversed(EVERY):
        if (partial / name).exists():
            (partial / name).replace(folder / name)
    partial.rmdir()
    sync_folder(folder)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time put its results into a folder, where the system can lock one."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives cannot
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _files(rows: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files that are text, by name."""
    tables = [*comparison_tables(rows), *threshold_tables(rows)]
    return {
        "results.json": (json.dumps(as_document(rows), indent=1) + "\n").encode(),
        "results.csv": csv_bytes(as_csv(rows)),
        "results.md": ("\n\n".join(map(markdown, tables)) + "\n").encode(),
        "settings.json": (json.dumps({"format": FORMAT, **settings}, indent=1) + "\n").encode(),
    }

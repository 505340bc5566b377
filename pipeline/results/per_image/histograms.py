"""Histograms of single images (per_image.zarr), the source of intervals, tests and figures of single images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import xarray
import zarr

from logitpipe.cache.errors import PipeError
from logitpipe.console.text import printable
from logitpipe.results.arrays import coordinates
from logitpipe.results.columns import FORMAT
from logitpipe.stages.score.figures.rows import Row

NAME = "per_image.zarr"
CLASSES = ("normal", "anomalous")


@dataclass(frozen=True)
class ImageCounts:
    """Histograms of the images of one store.

    Parameters
    ----------
    images : their names
    counts : int32 (rows, images, 2, bins), normal and anomalous pixels by falling score; at least 1024 bins, which
        may lie elsewhere in every row
    """

    images: tuple[str, ...]
    counts: np.ndarray


Origin = tuple[Path | tuple[ImageCounts, ...], int]
"""Where a row comes from: a folder of results or what a run has in memory, and the index that it has there."""


def write_per_image(path: Path, rows: Sequence[Row], stores: Sequence[ImageCounts]) -> None:
    """Write a Zarr v2 group that holds a group for each store, 0, 1, ..., with the dimensions row, image, class, bin.

    Parameters
    ----------
    rows : of all stores, those of each store together, in the order of `stores`
    """
    zarr.create_group(path, zarr_format=2, attributes={"format": FORMAT})
    # groupby joins neighbours only, which is why rows of one store must stand together.
    parts = [list(part) for _, part in groupby(rows, key=lambda row: row.store)]
    first = 0
    for i, (part, store) in enumerate(zip(parts, stores, strict=True)):
        # As text without control characters: names of images come from stores that others may have made.
        labels = {
            "image": [printable(name) for name in store.images],
            "class": list(CLASSES),
        }
        dataset = xarray.Dataset(
            {"counts": (("row", "image", "class", "bin"), store.counts)},
            coordinates(part) | {name: (name, values) for name, values in labels.items()},
            {"first_row": first},
        )
        # One row is one chunk: `pipe compare` reads a few rows, each with all images, and never a part of one.
        chunks = {"counts": {"chunks": (1, *store.counts.shape[1:])}}
        dataset.to_zarr(path, mode="a", group=str(i), zarr_format=2, consolidated=True, encoding=chunks)
        first += len(part)


def read_per_image(origins: Sequence[Origin]) -> ImageCounts:
    """Return the histograms of rows of one data set, wherever they lie.

    Raises
    ------
    PipeError
        A folder has none, or the rows are not of the same images: then they cannot be compared image by image.
    """
    found = [_find(source, row) for source, row in origins]
    images = found[0][0]
    for (source, _), (others, _, _) in zip(origins, found, strict=True):
        # The order counts too: histograms are paired by index, and a swap would pair two different images unnoticed.
        if others != images:
            raise PipeError(
                f"{_named(source)}only rows of the same images can be compared image by image; here are rows of "
                f"{len(others)} images beside others of {len(images)}, or in another order"
            )
    return ImageCounts(images, np.stack([np.asarray(counts[row]) for _, counts, row in found]))


def _find(source: Path | tuple[ImageCounts, ...], row: int) -> tuple[tuple[str, ...], np.ndarray | zarr.Array, int]:
    """Return the images of a row, the array that holds it, and where in it the row is."""
    for first, images, counts in _stores(source) if isinstance(source, Path) else _in_memory(source):
        if first <= row < first + counts.shape[0]:
            return images, counts, row - first
    folder = source if isinstance(source, Path) else "DIR"
    raise PipeError(
        f"{_named(source)}there are no histograms of single images ({NAME})", "score again", folder=folder
    )


def _named(source: Path | tuple[ImageCounts, ...]) -> str:
    return f"{source}: " if isinstance(source, Path) else ""


def _in_memory(stores: tuple[ImageCounts, ...]) -> Iterator[tuple[int, tuple[str, ...], np.ndarray]]:
    first = 0
    for store in stores:
        yield first, store.images, store.counts
        first += len(store.counts)


def _stores(folder: Path) -> Iterator[tuple[int, tuple[str, ...], zarr.Array]]:
    if not (folder / NAME).is_dir():
        return
    for _, group in zarr.open_group(folder / NAME, mode="r").groups():
        counts, images = group["counts"], group["image"]
        assert isinstance(counts, zarr.Array) and isinstance(images, zarr.Array)
        yield int(str(group.attrs["first_row"])), tuple(map(str, np.asarray(images[:]))), counts

"""The results.zarr of format 1: a grid of (store, method, temperature)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray

from logitpipe.results.arrays import DIMENSIONS, sketches_of
from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import Row


def read_sketches(path: Path, rows: Sequence[Row]) -> list[Sketch]:
    """Return the sketch of each row; raises as `arrays.read_sketches`."""
    stores, methods = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("store", "method"))
    temperatures = sorted({row.temperature for row in rows if row.temperature is not None}) or [1.0]
    places = [
        (
            stores.index(row.store),
            methods.index(row.method),
            0 if row.temperature is None else temperatures.index(row.temperature),
        )
        for row in rows
    ]
    with xarray.open_zarr(path) as dataset:
        areas, arrays = dataset["auprc"].to_numpy(), {name: dataset[name].to_numpy() for name in DIMENSIONS}
    for row, place in zip(rows, places, strict=True):
        if not np.array_equal(areas[place], np.nan if row.auprc is None else row.auprc, equal_nan=True):
            raise ValueError("auprc differs from that in results.json")
    return sketches_of(arrays, places)

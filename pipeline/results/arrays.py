"""Results as arrays over rows: figures in one group of results.zarr, curves and distributions in another."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import xarray

from logitpipe.console.text import printable
from logitpipe.results.columns import FORMAT, KEYS, columns
from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import Row

CURVES = "curves"
"""The group of what is drawn. Apart from the figures, as its bins would make a row of a data frame each."""

DIMENSIONS = {
    "recall": "point",
    "precision": "point",
    "fpr": "point",
    "normal": "bin",
    "anomaly": "bin",
    "edges": "edge",
}
"""The arrays of a sketch, each with the dimension that it has beside `row`."""


def figures_dataset(rows: Sequence[Row]) -> xarray.Dataset:
    """Return the columns of rows along the one dimension `row`: keys as coordinates, NaN for what does not exist.

    No dimension is named `method`, a name that `xarray.DataArray.sel` keeps for an argument of its own.
    """
    arrays = {name: ("row", _array(values)) for name, values in columns(rows).items() if name not in KEYS}
    return xarray.Dataset(arrays, coordinates(rows), {"format": FORMAT})


def coordinates(rows: Sequence[Row]) -> dict[str, tuple[str, np.ndarray]]:
    """Return the keys of rows as coordinates along `row`."""
    return {name: ("row", _array(values)) for name, values in columns(rows).items() if name in KEYS}


def curves_dataset(sketches: Sequence[Sketch]) -> xarray.Dataset:
    """Return what is drawn of rows, (row, point) and (row, bin)."""
    return xarray.Dataset(
        {
            name: (("row", dimension), np.stack([getattr(sketch, name) for sketch in sketches]))
            for name, dimension in DIMENSIONS.items()
        }
    )


def write_arrays(path: Path, rows: Sequence[Row], sketches: Sequence[Sketch]) -> None:
    """Write a Zarr v2 group: names are text, which the core of v3 does not know."""
    # Consolidated, so that a reader over a network asks for one file of metadata.
    figures_dataset(rows).to_zarr(path, mode="w", zarr_format=2, consolidated=True)
    curves_dataset(sketches).to_zarr(path, mode="a", group=CURVES, zarr_format=2, consolidated=True)


def read_sketches(path: Path, rows: Sequence[Row]) -> list[Sketch]:
    """Return the sketch of each row.

    Raises
    ------
    OSError
        There are none.
    ValueError
        They are not those of these rows.
    """
    with xarray.open_zarr(path) as dataset:
        # Sketches carry no keys of their own. Equal figures show that both files are of the same run and order.
        for name in ("auprc", "fpr95"):
            if not np.array_equal(dataset[name].to_numpy(), _array([getattr(r, name) for r in rows]), equal_nan=True):
                raise ValueError(f"{name} differs from that in results.json")
    with xarray.open_zarr(path, group=CURVES) as dataset:
        return sketches_of({name: dataset[name].to_numpy() for name in DIMENSIONS}, range(len(rows)))


def sketches_of(arrays: Mapping[str, np.ndarray], places: Sequence[int | tuple[int, ...]]) -> list[Sketch]:
    """Return the sketches that lie at some places of arrays."""
    return [Sketch(**{field.name: arrays[field.name][place] for field in fields(Sketch)}) for place in places]


def _array(values: Sequence[object]) -> np.ndarray:
    if any(isinstance(value, str) for value in values):
        return np.array([printable(str(value)) for value in values])
    if values and all(isinstance(value, int) for value in values):
        return np.array(values, np.int64)
    return np.array([np.nan if value is None else value for value in values], np.float64)

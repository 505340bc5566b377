"""Results as a data set of arrays over (store, method, temperature), and sketches read back from it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import xarray

from logitpipe.console.text import printable
from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import SCHEMA_VERSION, Row

MEASURED = ("auprc", "auprc_lower", "auprc_upper", "fpr95", "auroc", "best_f1", "best_f1_threshold")
DIMS = ("store", "method", "temperature")
SKETCHED = {
    "recall": "point",
    "precision": "point",
    "fpr": "point",
    "normal": "bin",
    "anomaly": "bin",
    "edges": "edge",
}
"""The arrays of a sketch, each with the dimension that it adds."""


@dataclass(frozen=True)
class Grid:
    """The coordinates of results; a method that no temperature changes has its values at every temperature."""

    stores: list[str]
    methods: list[str]
    temperatures: list[float]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Grid":
        """Return the grid that holds all rows."""
        temperatures = sorted({row.temperature for row in rows if row.temperature is not None}) or [1.0]
        stores, methods = ([getattr(row, name) for row in rows] for name in ("store", "method"))
        return cls(list(dict.fromkeys(stores)), list(dict.fromkeys(methods)), temperatures)

    def spread(self, rows: Sequence[Row], values: Sequence[np.ndarray]) -> np.ndarray:
        """Return (store, method, temperature, ...), the value of each row at its place and NaN elsewhere."""
        sizes = (len(self.stores), len(self.methods), len(self.temperatures))
        array = np.full((*sizes, *values[0].shape), np.nan, values[0].dtype)
        for row, value in zip(rows, values, strict=True):
            at = slice(None) if row.temperature is None else self.temperatures.index(row.temperature)
            array[self.stores.index(row.store), self.methods.index(row.method), at] = value
        return array


def as_dataset(rows: Sequence[Row], sketches: Sequence[Sketch]) -> xarray.Dataset:
    """Return figures and sketches, one for each row, as a data set; NaN is what does not exist."""
    grid, facts = Grid.of(rows), {row.store: row for row in rows}
    figures = {name: (DIMS, grid.spread(rows, [measured(row, name) for row in rows])) for name in MEASURED}
    drawn = {
        name: ((*DIMS, dim), grid.spread(rows, [getattr(sketch, name) for sketch in sketches]))
        for name, dim in SKETCHED.items()
    }
    per_store = {
        name: ("store", [printable(getattr(facts[s], name)) for s in grid.stores])
        for name in ("network", "dataset", "kind")
    }
    return xarray.Dataset(
        figures | drawn,
        coords={
            "store": [printable(store) for store in grid.stores],
            "method": grid.methods,
            "temperature": grid.temperatures,
            **per_store,
        },
        attrs={"schema_version": SCHEMA_VERSION, "protocol": printable(rows[0].protocol)},
    )


def read_sketches(dataset: xarray.Dataset, rows: Sequence[Row]) -> list[Sketch]:
    """Return the sketch of each row.

    Raises
    ------
    KeyError
        The data set has none.
    ValueError
        It is not that of these rows.
    """
    grid, arrays = Grid.of(rows), {name: dataset[name].to_numpy() for name in SKETCHED}
    for name in MEASURED:
        expected = grid.spread(rows, [measured(row, name) for row in rows])
        if not np.array_equal(dataset[name].to_numpy(), expected, equal_nan=True):
            raise ValueError(f"{name} differs from that in results.json")
    return [Sketch(**{f.name: arrays[f.name][_cell(grid, row)] for f in fields(Sketch)}) for row in rows]


def measured(row: Row, name: str) -> np.ndarray:
    """Return a figure of a row as an array without dimensions, NaN where it does not exist."""
    figure = getattr(row, name)
    return np.array(np.nan if figure is None else figure, np.float64)


def _cell(grid: Grid, row: Row) -> tuple[int, int, int]:
    at = 0 if row.temperature is None else grid.temperatures.index(row.temperature)
    return grid.stores.index(row.store), grid.methods.index(row.method), at

"""Rows of figures as records and as columns: the same names in results.json, results.csv and results.zarr."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from logitpipe.stages.score.figures.rows import Identity, Row

FORMAT = 2
"""Of the results folder; 1 had a grid of stores, methods and temperatures in results.zarr."""

FILES = ("results.json", "results.csv", "results.md", "results.zarr", "per_image.zarr", "settings.json")
"""What the folder holds."""

TEMPERATURES = ("temperature", "map_temperature", "mask_temperature")
KEYS = ("store", "network", "kind", "dataset", "protocol", "method", "parameters", *TEMPERATURES, "statistics")
"""What tells rows apart; all else was measured."""

IOU = ("threshold", "normal", "anomaly", "mean")


def names() -> tuple[str, ...]:
    """Return the names of all plain columns, in their order: keys, figures with their bounds, counts."""
    return (*KEYS, *(field.name for field in fields(Row) if field.name not in (*KEYS, "iou")))


def record(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it: null is a figure that does not exist, or a temperature that changes nothing."""
    return {name: getattr(row, name) for name in names()} | {"iou": row.iou}


def from_record(document: Mapping[str, Any]) -> Row:
    """Return the row that `record` wrote down, in this release or an earlier one; what that did not know is None.

    Raises
    ------
    TypeError
        It has a column that no release knew.
    """
    # Fields with a default keep it: only those without one need a value when an older release lacks them.
    unknown = {field.name: None for field in fields(Row) if field.default is MISSING}
    return Row(**unknown | dict(document))


def method_label(row: Identity) -> str:
    """Return a method with its parameters and with what temperatures it has beside the one that is swept."""
    parameters = f":{row.parameters}" if row.parameters else ""
    others = {"T_S": row.map_temperature, "T_m": row.mask_temperature}
    temperatures = "".join(f", {name} = {value:g}" for name, value in others.items() if value not in (None, 1))
    return f"{row.method}{parameters}{temperatures}"


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return what a table of numbers holds, column by column; an IoU has columns for its threshold and its figures.

    A temperature that changes nothing is 1 here, and not empty: who groups by temperature would lose the method.
    """
    found = {name: [getattr(row, name) for row in rows] for name in names()}
    for name in TEMPERATURES:
        found[name] = [1.0 if value is None else value for value in found[name]]
    # Rows of several runs may have different numbers of thresholds; shorter ones are padded with None.
    for i in range(max((len(row.iou) for row in rows), default=0)):
        for name in IOU:
            found[f"iou_{i}_{name}"] = [row.iou[i][name] if i < len(row.iou) else None for row in rows]
    return found

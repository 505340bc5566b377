"""Rows of figures for programs: one object for JSON, one line for each in CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from logitpipe.console.text import printable
from logitpipe.stages.score.figures.rows import SCHEMA_VERSION, Row


def as_document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows as one object for JSON; figures that do not exist are null."""
    return {"schema_version": SCHEMA_VERSION, "results": [asdict(row) for row in rows]}


def as_csv(rows: Sequence[Row]) -> str:
    """Return one line for each row, fractions; an IoU has columns for its threshold and its three figures.

    Names are as `_cell` gives them; results.json has them as they are.
    """
    thresholds = max((len(row.iou) for row in rows), default=0)
    plain = [field.name for field in fields(Row) if field.name != "iou"]
    names = ("threshold", "normal", "anomaly", "mean")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, *(f"iou_{i}_{name}" for i in range(thresholds) for name in names)])
    for row in rows:
        facts = (_cell(getattr(row, name)) for name in plain)
        writer.writerow([*facts, *(iou[name] for iou in row.iou for name in names)])
    return text.getvalue()


def _cell(value: object) -> object:
    """Return a name as text of one line that no spreadsheet takes for a formula: stores come from others, too."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text

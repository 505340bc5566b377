"""Rows of figures for programs: one object for JSON, one line for each in CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from logitpipe.console.text import printable
from logitpipe.results.columns import FORMAT, columns, record
from logitpipe.stages.score.figures.rows import Row


def as_document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows as one object for JSON; figures that do not exist are null."""
    return {"schema_version": FORMAT, "results": [record(row) for row in rows]}


def as_csv(rows: Sequence[Row]) -> str:
    """Return one line for each row, fractions, with the columns of `columns.columns`.

    Names are as `spreadsheet_text` gives them; results.json has them as they are.
    """
    return csv_text(columns(rows))


def csv_text(found: Mapping[str, Sequence[Any]]) -> str:
    """Return columns as CSV, names as `spreadsheet_text` gives them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found)
    # Text alone needs that: no spreadsheet takes a number for a formula.
    for values in zip(*found.values(), strict=True):
        writer.writerow([spreadsheet_text(value) if isinstance(value, str) else value for value in values])
    return text.getvalue()


def csv_bytes(text: str) -> bytes:
    """Return the bytes of a CSV file: UTF-8, with a byte order mark where a letter is beyond ASCII.

    Without the mark a spreadsheet takes such letters for those of the system's old encoding. With it some programs
    misread the name of the first column, so that a file which does without has none.
    """
    return text.encode("utf-8" if text.isascii() else "utf-8-sig")


def spreadsheet_text(name: str) -> str:
    """Return a name as text of one line that no spreadsheet takes for a formula: stores come from others, too."""
    text = printable(name)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text

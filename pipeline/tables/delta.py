"""Table of what each choice of a protocol changes."""

from collections.abc import Sequence

from logitpipe.console.text import printable
from logitpipe.results.columns import method_label
from logitpipe.runs.delta import Changed
from logitpipe.stages.score.figures.rows import DECIMALS, Row
from logitpipe.tables.comparison import temperature_text
from logitpipe.tables.metrics import Metric, printed, value
from logitpipe.tables.table import Cell, Group, Table

NOTES = ("change: less the figure under standard, in points of a per cent; of lines with = one choice is changed",)


def delta_table(changes: Sequence[Changed], metrics: Sequence[Metric]) -> Table:
    """Return a line for each choice, and columns for each method: its figures, and by how much they change.

    Parameters
    ----------
    changes : of one store, those of `standard` first
    """
    base = changes[0].rows
    heads = tuple(head for metric in metrics for head in (metric.title, "change"))
    groups = tuple(Group(_name(row), heads) for row in base)
    lines = tuple(
        (
            Cell(printable(choice)),
            *(cell for row, plain in zip(rows, base, strict=True) for cell in _cells(row, plain, metrics)),
        )
        for choice, rows in changes
    )
    title = printable(f"{base[0].network} on {base[0].dataset}: what each choice changes, per cent")
    return Table(title, ("choice",), groups, lines, NOTES)


def _name(row: Row) -> str:
    return method_label(row) + ("" if row.temperature is None else f" T={temperature_text(row.temperature)}")


def _cells(row: Row, plain: Row, metrics: Sequence[Metric]) -> list[Cell]:
    return [
        Cell(text)
        for metric in metrics
        for text in (printed(row, metric), _change(value(row, metric), value(plain, metric)))
    ]


def _change(figure: float | None, plain: float | None) -> str:
    if figure is None or plain is None:
        return ""
    # Nothing at all is told from what rounds to nothing.
    return "0" if figure == plain else f"{100 * (figure - plain):+.{DECIMALS}f}"
